"""The lake → BigQuery: free load jobs, each record once."""
