"""One file per verb; `app` puts them together."""
