"""Notifications of alerts by webhook, Slack, e-mail and terminal."""
