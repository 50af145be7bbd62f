"""The meaning of columns, by their names and values. Pure, on the first rows."""
