-- The volume-weighted average price of each instrument and session, of its trades (without cancels).
select
  kafka_topic, instrument_id, symbol, session_date,
  sum(price * 1e0 * (size * 1e0)) / sum(size * 1e0) as vwap,
  sum(size) as volume,
  count(*) as trades,
  min(ts_event) as first_trade,
  max(ts_event) as last_trade
from lake.trades
where correction <> 'cancel' and size > 0
group by kafka_topic, instrument_id, symbol, session_date
