"""archived: a headless archival appliance. Plug-ins import `archived.api` and nothing else."""

__version__ = "0.1.0"
