"""Indicators of closed bars: state in columns, one step per bar, names and values of TA-Lib."""
