"""pytest plug-in offered to plug-in authors; loaded by pytest through its entry point."""
