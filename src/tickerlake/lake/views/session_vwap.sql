-- The volume-weighted average price of each instrument and session, from its trades (without canceled ones).
select
  kafka_topic, instrument_id, symbol, session_date,
  sum(cast(price as float64) * cast(size as float64)) / sum(cast(size as float64)) as vwap,
  sum(size) as volume,
  count(*) as trades,
  min(ts_event) as first_trade,
  max(ts_event) as last_trade
from lake.trades
where correction <> 'cancel' and size > 0
group by kafka_topic, instrument_id, symbol, session_date
