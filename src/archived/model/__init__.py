"""Pure decisions: no disk, no clock, no socket, no asyncio, no plug-in classes."""
