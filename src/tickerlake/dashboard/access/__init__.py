"""Access control of the dashboard: authentication, hosts and origins, rate limits. Denies by default."""
