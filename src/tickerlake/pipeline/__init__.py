"""Turns the crank: files → Kafka (`ingest`), Kafka → lake (`sink`), all of it (`demo`)."""
