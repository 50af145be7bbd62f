"""The health of the pipeline: topics, consumer groups, the lake, rejects, audits and cost."""
