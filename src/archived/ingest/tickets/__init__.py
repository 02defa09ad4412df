"""Reads the ticket that closes a dossier's folder, and compares it with what lies there.

A ticket is hostile until it was read: bytes in, frozen claims out, nothing opened, nothing run.
What it says about files are claims; the bytes decide.
"""

from archived.ingest.tickets.compare import compare, digest_problem, received_names, secrecy_problem
from archived.ingest.tickets.parse import FORMATS, read_ticket
from archived.ingest.tickets.validate import (
    MOST_BYTES,
    MOST_FILES,
    ListedFile,
    Ticket,
    TicketProblem,
)

__all__ = [
    "FORMATS",
    "MOST_BYTES",
    "MOST_FILES",
    "ListedFile",
    "Ticket",
    "TicketProblem",
    "compare",
    "digest_problem",
    "read_ticket",
    "received_names",
    "secrecy_problem",
]
