"""The fault rig: `./run fault`."""
