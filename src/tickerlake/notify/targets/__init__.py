"""Where alerts go: each target tells people in its own way, and knows nothing of queues and retries."""
