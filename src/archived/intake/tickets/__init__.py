"""Reads the ticket that closes a dossier's folder, and compares it with what lies there.

A ticket is hostile until it was read: bytes in, frozen claims out, nothing opened, nothing run.
What it says about files are claims; the bytes decide.
"""

from archived.intake.tickets.claims import (
    MOST_BYTES,
    MOST_FILES,
    Listed,
    Ticket,
    TicketProblem,
)
from archived.intake.tickets.comparing import (
    compare,
    digest_problem,
    received_names,
    secrecy_problem,
)
from archived.intake.tickets.reading import FORMATS, read_ticket

__all__ = [
    "FORMATS",
    "MOST_BYTES",
    "MOST_FILES",
    "Listed",
    "Ticket",
    "TicketProblem",
    "compare",
    "digest_problem",
    "read_ticket",
    "received_names",
    "secrecy_problem",
]
