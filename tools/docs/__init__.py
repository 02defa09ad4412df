"""Writes what the documentation has from the program: pages, texts, pictures, dashboard."""
