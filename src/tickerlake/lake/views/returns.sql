-- The change from each session to the next, simple and logarithmic: of unadjusted closes (a split shows as a
-- fall) and, where the source has them, of adjusted closes.
select
  kafka_topic, instrument_id, symbol, session_date, close, previous_close, ts_open_ns,
  cast(close as float64) / cast(previous_close as float64) - 1 as simple_return,
  ln(cast(close as float64) / cast(previous_close as float64)) as log_return,
  cast(adj_close as float64) / cast(previous_adj_close as float64) - 1 as adjusted_return
from (
  select
    d.kafka_topic, d.instrument_id, d.symbol, d.session_date, d.close, d.adj_close, d.ts_open_ns,
    lag(d.close) over (partition by d.kafka_topic, d.instrument_id order by d.ts_open_ns) as previous_close,
    lag(d.adj_close) over (partition by d.kafka_topic, d.instrument_id order by d.ts_open_ns)
      as previous_adj_close
  from lake.daily_bars as d
) as pairs
where previous_close is not null
