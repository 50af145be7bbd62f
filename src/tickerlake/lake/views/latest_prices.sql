-- The last known price of each instrument: that of its last trade, or the close of its last bar.
select instrument_id, symbol, price, ts, origin, kafka_topic
from (
  select instrument_id, symbol, price, ts_event as ts, 'trade' as origin, kafka_topic, kafka_offset
  from lake.trades
  where correction <> 'cancel'
  union all
  select instrument_id, symbol, close as price, ts_close as ts, 'bar' as origin, kafka_topic, kafka_offset
  from lake.bars
) as prices
where true
qualify row_number() over (
  partition by instrument_id order by ts desc, origin desc, kafka_topic, kafka_offset desc
) = 1
