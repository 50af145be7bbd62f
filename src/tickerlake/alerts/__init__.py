"""Closed and forming bars → alerts. No clock and no I/O: a replay raises the same alerts."""
