"""Closed and forming bars → alerts. Pure: no clock, no input, no output; a replay gives the same alerts."""
