"""Who may see the dashboard, from where, and how often: default deny, nothing here knows of stocks."""
