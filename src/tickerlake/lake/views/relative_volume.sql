-- The volume of each session relative to the average of the 20 sessions before it.
select
  kafka_topic, instrument_id, symbol, session_date, volume,
  case when sessions = 20 then average end as average_volume_20,
  case when sessions = 20 and average > 0 then cast(volume as float64) / average end as relative_volume
from (
  select
    d.kafka_topic, d.instrument_id, d.symbol, d.session_date, d.volume,
    count(d.volume) over last_20 as sessions,
    avg(cast(d.volume as float64)) over last_20 as average
  from lake.daily_bars as d
  window last_20 as (
    partition by d.kafka_topic, d.instrument_id order by d.ts_open_ns
    rows between 20 preceding and 1 preceding
  )
) as windows
