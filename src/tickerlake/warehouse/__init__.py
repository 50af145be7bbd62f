"""The lake → BigQuery: free load jobs, each segment once."""
