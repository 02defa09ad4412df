"""Runs stages: which step next, in a process of its own, and how its end becomes permanent."""
