"""A person at a terminal: parse, call, show, exit code. Nothing is decided here."""
