-- One row per instrument and session: the complete daily bars.
select
  b.kafka_topic, b.instrument_id, b.symbol, b.session_date,
  b.open, b.high, b.low, b.close, b.volume, b.vwap, b.adj_close, b.adj_factor, b.currency, b.ts_open_ns
from lake.bars as b
where b.interval = '1d' and b.price_type = 'last' and b.is_final and not b.is_partial
