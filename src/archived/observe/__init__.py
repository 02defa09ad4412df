"""What the archive shows: logs, metrics, health, events, answers. It decides nothing."""
