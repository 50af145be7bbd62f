"""Track stocks in real time: CSV files → Apache Kafka → data lake, every record exactly once."""

__version__ = "0.1.0"
