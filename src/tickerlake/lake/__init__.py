"""The lake: the only place that writes and reads segments."""
