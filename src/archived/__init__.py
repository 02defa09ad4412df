"""archived: a headless archival appliance. Plug-ins import `archived.api` and nothing else."""

__version__ = "0.1.0"

AGENT = f"archived {__version__}"
"""The agent of the core's own acts, in the ledger and in PREMIS."""
