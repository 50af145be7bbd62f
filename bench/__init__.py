"""Speed, measured against named limits in the same run: ``make bench``."""
