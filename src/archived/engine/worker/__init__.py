"""A step's process, and what is believed of what it says. The daemon imports all but `child`."""
