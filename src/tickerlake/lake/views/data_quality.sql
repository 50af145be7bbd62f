-- Rows of each session by quality codes; an empty string stands for rows without any.
select 'bars' as kind, b.kafka_topic, b.session_date, array_to_string(b.quality, ',') as codes,
  count(*) as row_count
from lake.bars as b
group by 1, 2, 3, 4
union all
select 'trades' as kind, t.kafka_topic, t.session_date, array_to_string(t.quality, ',') as codes,
  count(*) as row_count
from lake.trades as t
group by 1, 2, 3, 4
union all
select 'quotes' as kind, q.kafka_topic, q.session_date, array_to_string(q.quality, ',') as codes,
  count(*) as row_count
from lake.quotes as q
group by 1, 2, 3, 4
