-- The volatility of the last 20 sessions: the standard deviation of their logarithmic returns, annualized to
-- 252 sessions; null where there are fewer than 20.
select
  kafka_topic, instrument_id, symbol, session_date, close,
  case when sessions = 20 then deviation * sqrt(252) end as volatility_20
from (
  select
    r.kafka_topic, r.instrument_id, r.symbol, r.session_date, r.close,
    count(*) over last_20 as sessions,
    stddev_samp(r.log_return) over last_20 as deviation
  from lake.returns as r
  window last_20 as (
    partition by r.kafka_topic, r.instrument_id order by r.ts_open_ns
    rows between 19 preceding and current row
  )
) as windows
