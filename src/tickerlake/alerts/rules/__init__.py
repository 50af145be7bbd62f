"""Rules as people write them: files, presets, and what is wrong with them."""
