-- Moving averages of 20 bars and Bollinger Bands (two population standard deviations) per interval: the same
-- values as SMA(20) and BBANDS(20,2,2) in the stream; null before the 20th bar.
select
  kafka_topic, instrument_id, symbol, bar_interval, ts_open, session_date, close,
  case when bars = 20 then mean end as sma_20,
  case when bars = 20 then mean - 2 * deviation end as lower_band,
  case when bars = 20 then mean + 2 * deviation end as upper_band,
  ts_open_ns
from (
  select
    b.kafka_topic, b.instrument_id, b.symbol, b.interval as bar_interval, b.ts_open, b.session_date, b.close,
    b.ts_open_ns,
    count(*) over last_20 as bars,
    avg(cast(b.close as float64)) over last_20 as mean,
    stddev_pop(cast(b.close as float64)) over last_20 as deviation
  from lake.bars as b
  where b.price_type = 'last' and b.is_final and not b.is_partial
  window last_20 as (
    partition by b.kafka_topic, b.instrument_id, b.interval order by b.ts_open_ns
    rows between 19 preceding and current row
  )
) as windows
