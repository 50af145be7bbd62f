"""Alerts to people: webhook, Slack, e-mail, terminal. A slow or dead target delays nobody else."""
