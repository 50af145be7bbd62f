"""Lines, tables and headers: how a file is split into columns."""
