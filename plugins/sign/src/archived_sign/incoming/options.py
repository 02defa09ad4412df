"""The options of `[stage.signatures]`."""

from __future__ import annotations

from pathlib import Path

from archived.api import StageConfig


class SignaturesOptions(StageConfig):
    """Whom to trust. Nothing is fetched, and no address out of a received file is ever asked."""

    trusted_roots: tuple[Path, ...] = ()
    """PEM files with the roots that signers' certificates must lead to. None: trust is not
    established."""
    timestamp_roots: tuple[Path, ...] = ()
    """PEM files with the roots of time stamp servers. None: those of `trusted_roots`."""
    crls: tuple[Path, ...] = ()
    """Files with CRLs (DER or PEM) that somebody keeps up to date."""
