"""Detectors: each measures closed or forming bars, and marks where its measure reaches a threshold."""
