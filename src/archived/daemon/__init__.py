"""Builds the objects, runs them in one task group, stops them in order. Nobody imports this."""

from archived.daemon.daemon import Daemon
from archived.daemon.process import serve

__all__ = ["Daemon", "serve"]
