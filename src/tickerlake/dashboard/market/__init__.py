"""The state of the market in memory: latest values, forming bars, history, alerts. Pure."""
