-- The newest record of each topic: record type, event time, and the time Kafka received it (ms, UTC).
select kind, kafka_topic, count(*) as row_count, max(ts) as newest_event, max(kafka_timestamp_ms) as newest_ms
from (
  select 'bars' as kind, b.kafka_topic, b.ts_open as ts, b.kafka_timestamp_ms from lake.bars as b
  union all
  select 'trades' as kind, t.kafka_topic, t.ts_event as ts, t.kafka_timestamp_ms from lake.trades as t
  union all
  select 'quotes' as kind, q.kafka_topic, q.ts_event as ts, q.kafka_timestamp_ms from lake.quotes as q
  union all
  select 'alerts' as kind, a.kafka_topic, a.ts_event as ts, a.kafka_timestamp_ms from lake.alerts as a
  union all
  select 'indicators' as kind, i.kafka_topic, i.ts_open as ts, i.kafka_timestamp_ms from lake.indicators as i
) as everything
group by kind, kafka_topic
