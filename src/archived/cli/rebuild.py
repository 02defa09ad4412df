"""`archived rebuild`: the catalog made from the store, while the daemon is stopped."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archived.cli import client, output
from archived.cli.client import Session
from archived.cli.errors import OK, PROBLEM
from archived.errors import ArchivedError, CatalogError
from archived.locale import _, ngettext
from archived.message import Message

if TYPE_CHECKING:
    from archived.config import Settings
    from archived.engine.rebuild import Rebuilt


@click.command("rebuild")
@click.pass_obj
def rebuild(session: Session) -> None:
    """Make the catalog from the store, or add what the store holds and the catalog lacks.

    For a catalog that was lost, and after one was restored from a backup. The daemon must be
    stopped; run this as its user. Nothing in the store is changed and nothing is deleted; what
    is still in the spool is taken up when the daemon starts. Documents count as sealed until
    their copies are verified again; so do those that were called safe without proof. Ends with 1
    when an object could not be read, or is missing.
    """
    from archived.config import load
    from archived.daemon.state_folder import only_one

    settings = load(client.chosen(session.config))
    state = settings.archive.state
    _as_its_owner(state)
    with only_one(state):
        done = _rebuilt(settings, state / "catalog.db")
    if session.as_json:
        output.as_json(asdict(done))
    else:
        _show(done)
    sys.exit(PROBLEM if done.unreadable or done.missing else OK)


def _as_its_owner(state: Path) -> None:
    """Files made by another user would keep the daemon from starting."""
    from archived.daemon.state_folder import unusable

    try:
        owner = state.stat().st_uid
    except OSError as error:
        raise unusable(state, error) from error
    if os.geteuid() != owner:
        import pwd

        name = pwd.getpwuid(owner).pw_name
        raise ArchivedError(
            Message(
                "{state} belongs to {name}, and what this makes must be theirs",
                state=state,
                name=name,
            ),
            hint=f"runuser -u {name} -- archived rebuild",
            code="not-your-state",
        )


def _rebuilt(settings: Settings, final: Path) -> Rebuilt:
    from archived.daemon.wiring import specs
    from archived.engine.rebuild import ConfiguredDefaults, Rebuild
    from archived.storage import atomic
    from archived.storage.catalog import Catalog
    from archived.storage.ocfl.store import Store
    from archived.storage.spool import Spool

    spool, store = Spool(settings.archive.state), Store(settings.store.path)
    store.open()
    spool.create()
    # A catalog that holds only some of the objects must not be taken for the catalog.
    path = final if final.exists() else final.with_name(f"{final.name}.unfinished")
    if path != final:
        _no_log_of(final)
        for leftover in path.parent.glob(f"{path.name}*"):
            atomic.remove_file(leftover)
    promises = ConfiguredDefaults(
        {name: pipeline.copies for name, pipeline in settings.pipelines.items()},
        {name: folder.priority for name, folder in settings.hotfolders.items()},
    )
    catalog = Catalog.open(path)
    try:
        if path == final and catalog.ledger_head().sequence == 0:
            raise _in_the_way(final, "the catalog is empty")
        work = Rebuild(spool, store, catalog, specs(settings), promises, datetime.now(UTC))
        done = work.run(_progress)
    finally:
        catalog.close()
    if path != final:
        _no_log_of(path)
        atomic.move_file(path, final)
    return done


def _no_log_of(catalog: Path) -> None:
    """SQLite would write a log that is left of one catalog into whatever has its name next; and a
    catalog whose own log is not folded into it yet is not whole without it."""
    log = catalog.with_name(f"{catalog.name}-wal")
    if log.exists():
        raise _in_the_way(catalog, Message("{name} is there without its catalog", name=log.name))


def _in_the_way(catalog: Path, why: str) -> CatalogError:
    return CatalogError(
        Message("{catalog}: {why}", catalog=catalog, why=why),
        hint=Message(
            "nothing was made or changed. Move {name}, {name}-wal and {name}-shm aside "
            "together and keep them, then: archived rebuild",
            name=catalog.name,
        ),
    )


def _progress(objects: int) -> None:
    if sys.stderr.isatty():
        click.echo(_("{count} objects looked at").format(count=objects) + "\r", nl=False, err=True)


def _show(done: Rebuilt) -> None:
    count = done.objects
    output.pairs(
        [
            (_("objects in the store"), count),
            (_("not in the catalog before"), done.found),
            (_("in work by the catalog, and sealed"), done.settled),
            (_("called safe without proof"), done.doubted),
            (_("of whose seal the ledger did not tell"), done.entered),
            (_("could not be read"), len(done.unreadable)),
            (_("without an object in the store"), len(done.missing)),
        ]
    )
    for key, why in done.unreadable.items():
        output.line(f"{key}: {why}", "red")
    for document, key in done.missing.items():
        told = _("document {document}: its object {key} is not in the store")
        output.line(told.format(document=document, key=key), "red")
    if done.before is not None and done.found:
        told = _("their own ledger went at least to entry {sequence}, {hash}: keep this line")
        output.line(told.format(sequence=done.before.sequence, hash=done.before.hash))
    if not done.unreadable and not done.missing:
        told = ngettext(
            "{count} object is in the catalog; start the daemon",
            "{count} objects are in the catalog; start the daemon",
            count,
        )
        output.line(told.format(count=count), "green")
