"""Alembic migrations of the catalog. A released one is never edited."""
