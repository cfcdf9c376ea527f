"""A whole evaluation: its configuration, its rows, running it, and what comes out."""
