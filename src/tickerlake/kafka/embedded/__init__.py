"""A real Apache Kafka broker on this machine: its files, process, jars and Java runtime."""
