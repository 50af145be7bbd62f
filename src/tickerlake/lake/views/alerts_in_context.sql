-- Each fired alert with the daily bar of its session and the change from the previous session.
select
  a.alert_id, a.rule_id, a.kind, a.severity, a.instrument_id, a.symbol, a.ts_event, a.session_date,
  a.direction, a.value, a.threshold, a.unit, a.cause, a.message, a.kafka_topic,
  d.open as session_open, d.high as session_high, d.low as session_low, d.close as session_close,
  d.volume as session_volume, r.simple_return as session_return
from lake.alerts as a
left join (
  select * from lake.daily_bars where true
  qualify row_number() over (partition by instrument_id, session_date order by kafka_topic) = 1
) as d on d.instrument_id = a.instrument_id and d.session_date = a.session_date
left join lake.returns as r
  on r.instrument_id = a.instrument_id and r.session_date = a.session_date and r.kafka_topic = d.kafka_topic
where a.state = 'fired'
