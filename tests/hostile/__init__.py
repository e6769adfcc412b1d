"""The fault matrix: what goes wrong between a client and its service, and what comes of it."""
