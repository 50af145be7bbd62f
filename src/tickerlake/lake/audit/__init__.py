"""Checks what a lake holds, and repairs it."""
