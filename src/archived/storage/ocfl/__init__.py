"""The OCFL 1.1 storage root: layout, inventories, reading, writing, repair."""
