"""How the pipeline is: topics, consumer groups, the lake, rejects, audits and cost."""
