"""Stock prices in CSV files, of whatever vendor."""
