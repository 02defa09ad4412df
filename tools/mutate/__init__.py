"""Planted faults: `./run mutate`."""
