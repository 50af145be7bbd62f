"""A seeded market: trades of many symbols, and the truth about their jumps, splits and halts."""
