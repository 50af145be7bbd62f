"""What a record is: bars, trades, quotes and alerts. No input, no output."""
