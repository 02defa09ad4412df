"""The `signatures` stage as the daemon sees it. Light on purpose: the work is in `run`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from archived.api import Context, Document, Message, Needs, Result, Stage
from archived_sign.incoming.options import SignaturesOptions


class Signatures(Stage[SignaturesOptions]):
    """Judges the signatures that a document's PDF files arrived with, and says so in the facts."""

    name = "signatures"
    version = "1.0"
    accepts = ("application/pdf",)
    any_original = True
    needs = Needs(timeout=timedelta(minutes=5), attempts=2, lane="cpu", memory="1 GiB")
    preload = ("archived_sign.incoming.run", "pyhanko.sign.validation.pdf_embedded")

    def check(self, options: SignaturesOptions) -> Iterable[str]:
        """Files with roots or CRLs that cannot be used."""
        from archived_sign.incoming.run import read_trusted

        try:
            read_trusted(options)
        except (OSError, ValueError) as error:
            yield Message(
                "stage.signatures: {error}; name files with certificates and CRLs", error=error
            )

    def run(self, document: Document, context: Context[SignaturesOptions]) -> Result:
        """Look at every original that is a PDF; change nothing."""
        from archived_sign.incoming.run import judge_originals

        return judge_originals(document, context)
