"""Debian packages, the offline bundle, and clean Debian roots."""
