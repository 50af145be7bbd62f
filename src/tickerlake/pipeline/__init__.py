"""The jobs: files → Kafka (`ingest`), Kafka → lake (`sink`), Kafka → bars and alerts (`track`)."""
