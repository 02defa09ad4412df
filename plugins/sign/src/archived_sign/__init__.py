"""The `sign` stage as the daemon sees it: its name, options and needs.

Light on purpose: nothing here imports a PDF, signing or font library. The work is in `work`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from archived.api import Context, Document, Needs, Result, Stage, hookimpl
from archived_sign.incoming.stage import Signatures
from archived_sign.options import SignOptions


class Sign(Stage[SignOptions]):
    """Signs the document's PDF at a PAdES baseline level, from B-B to B-LTA."""

    name = "sign"
    version = "1.1"
    accepts = ("application/pdf",)
    signs = True
    upgrades = True
    # Waiting for a time stamp server takes up to three tries of 180 s; without one the stage is
    # pure computing, hence the lane.
    needs = Needs(timeout=timedelta(minutes=15), attempts=3, lane="cpu", memory="1 GiB")
    preload = (
        "archived_sign.run",
        "archived_sign.appearance",
        "pyhanko.sign.signers",
        "pyhanko.sign.validation.ades",
        "pyhanko.sign.validation.report.tools",
        "fpdf",
    )

    writes = ("pin_record", "token_folder")

    @classmethod
    def needs_for(cls, options: SignOptions) -> Needs:
        """The network only where a time stamp server is configured: for it, OCSP and CRLs. One
        process for many documents with a token, which it has one session with.
        """
        worker = "kept" if options.token is not None else cls.needs.worker
        return replace(cls.needs, network=options.timestamp is not None, worker=worker)

    def check(self, options: SignOptions) -> Iterable[str]:
        """Problems with the key, its certificate, the trusted roots and the font."""
        from archived_sign.checks import problems

        return problems(options)

    def run(self, document: Document, context: Context[SignOptions]) -> Result:
        """Sign, validate what was signed, and say so in the facts."""
        from archived_sign.run import sign_document

        return sign_document(document, context)

    def upgrade(self, document: Document, context: Context[SignOptions]) -> Result:
        """Bring a signed document to the wanted level, or renew what proves it."""
        from archived_sign.upgrade import upgrade_document

        return upgrade_document(document, context)


@hookimpl
def register_stages(register: Callable[[type[Stage[Any]]], None]) -> None:
    """Give `sign` and `signatures` to the core."""
    register(Sign)
    register(Signatures)
