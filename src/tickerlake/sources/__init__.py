"""Sources of data, as batches of canonical records."""
