"""Brings the lake and the topics into the market: what there was, then what comes."""
