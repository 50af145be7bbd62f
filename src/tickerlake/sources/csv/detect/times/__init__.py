"""Dates, intervals and the order of rows: pure, without columns."""
