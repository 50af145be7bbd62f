"""A real Apache Kafka broker on this machine: its files, its process, its jars and its Java."""
