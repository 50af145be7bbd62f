"""Detects how a CSV file is written: dialect, header, columns, dates, symbol."""
