"""Record types: bars, trades, quotes, alerts and indicators. No input or output."""
