"""Indicators of closed bars: columns of state, one step a bar, TA-Lib's names and values."""
