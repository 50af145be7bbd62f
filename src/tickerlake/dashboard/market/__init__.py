"""What is known of the market now: latest values, forming bars, history in memory. Pure."""
