"""The live dashboard: a read-only web page on the topics and the lake."""
