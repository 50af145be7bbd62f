"""Stock prices in CSV files, of whatever vendor."""

from tickerlake.sources.csv.read import CsvSource, Fingerprint, Table, open_csv

__all__ = ["CsvSource", "Fingerprint", "Table", "open_csv"]
