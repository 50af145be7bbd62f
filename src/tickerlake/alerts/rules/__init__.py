"""Rules files and presets: reading and validation."""
