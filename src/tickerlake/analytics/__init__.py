"""Records in offset order → bars and indicators. Pure: no clock, no input, no output."""
