"""Audits of what a lake holds, and its repair."""
