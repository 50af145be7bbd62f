"""Outside data becomes batches of canonical records."""
