"""Reads the lake and the topics into the market: first the history, then new records."""
