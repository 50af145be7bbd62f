"""The live dashboard: a read-only page over the topics and the lake."""
