"""What goes to open pages as it happens: frames, and one queue of one for each page."""
