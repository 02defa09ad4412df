"""What the house shows: logs, metrics, health, events, answers. It decides nothing."""
