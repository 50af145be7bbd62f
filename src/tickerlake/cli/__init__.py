"""The command line: one file per command; `app` assembles them."""
