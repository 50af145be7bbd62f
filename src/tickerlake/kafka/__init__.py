"""Kafka clients: the only importer of ``confluent_kafka``."""
