"""Many requests: read from a file or an iterable, run, and written down as they end."""
