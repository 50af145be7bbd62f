"""A seeded market: trades of many symbols, with labels for their jumps, splits and halts."""
