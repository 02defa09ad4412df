"""Damaged files and tickets: `./run fuzz`."""
