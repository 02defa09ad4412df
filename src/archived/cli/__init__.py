"""The command lines: they compose everything, and nobody imports them."""
