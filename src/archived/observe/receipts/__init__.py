"""The answers on the share: what the person at the scanner sees, written into the hot folder.

Everything here can be written again from the catalog; nothing depends on it, and a share that
cannot be written disturbs nobody.
"""

from archived.observe.receipts.shares import IngestStanding, ReceiptSpec, ReceiptTasks

__all__ = ["IngestStanding", "ReceiptSpec", "ReceiptTasks"]
