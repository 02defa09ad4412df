"""`archivectl cover-sheet`: prints the sheets that separate documents in a scanner's feeder.

Needs neither daemon nor configuration: what a sheet says is in its code.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archived.cli.client import Session
from archived.cli.output import as_json, line
from archived.locale import _, ngettext
from archived.model import secrecy as levels

if TYPE_CHECKING:
    from archived.api.cover_sheet import Sheet

_MOST = 500


@click.command("cover-sheet")
@click.option("--dossier", metavar="CODE", default="", help="Code of the dossier that begins.")
@click.option("--plain", is_flag=True, help="Sheets that only begin the next document.")
@click.option(
    "--sheets",
    type=int,
    metavar="N",
    help="Sheets of paper in the dossier; separators are not counted.",
)
@click.option(
    "--secrecy", metavar="LEVEL", default="", help="open, mat, toi-mat or tuyet-mat, or as printed."
)
@click.option("--title", metavar="TEXT", default="", help="For people; not in the code.")
@click.option(
    "--count",
    type=click.IntRange(1, _MOST),
    default=1,
    show_default=True,
    metavar="K",
    help="That many; a dossier's are numbered, one for each document.",
)
@click.option(
    "--patch",
    type=click.Choice(["T", "2", "3"]),
    default=None,
    help="Print this patch code too, for scanners that look for it.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    help="The PDF to write, a new file; - is standard output.",
)
@click.pass_obj
def cover_sheet(
    session: Session,
    dossier: str,
    plain: bool,
    sheets: int | None,
    secrecy: str,
    title: str,
    count: int,
    patch: str | None,
    output: str,
) -> None:
    """Print cover sheets of a dossier, or plain separator sheets, as a PDF on A4.

    The stage `separate` cuts what was scanned with them: see the plug-in's README.
    """
    from archived.cli.cover_sheet_pdf import Style, draw

    if plain == bool(dossier):
        raise click.UsageError(_("say either --dossier CODE or --plain"))
    if plain and (sheets is not None or secrecy or title):
        raise click.UsageError(_("--sheets, --secrecy and --title are said of a dossier"))
    from archived.api.cover_sheet import Sheet, SheetKind

    made = [Sheet(SheetKind.PLAIN)] * count if plain else _covers(dossier, sheets, secrecy, count)
    _clean(title)
    _write(output, draw(made, Style(title=title, patch=patch or "")))
    if output == "-":
        return
    if session.as_json:
        as_json({"file": output, "sheets": [sheet.text() for sheet in made]})
    else:
        told = ngettext(
            "{file}: {count} sheet, A4; print at 100 %",
            "{file}: {count} sheets, A4; print at 100 %",
            count,
        )
        line(told.format(file=output, count=count))


def _covers(dossier: str, sheets: int | None, secrecy: str, count: int) -> list[Sheet]:
    from archived.api.cover_sheet import LEVELS, Sheet, SheetError, SheetKind

    try:
        level = LEVELS[levels.level(secrecy)] if secrecy else ""
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--secrecy") from None
    try:
        return [
            Sheet(SheetKind.COVER, dossier, sheets, level, number, count)
            for number in range(1, count + 1)
        ]
    except SheetError as error:
        raise click.UsageError(str(error)) from None


def _clean(title: str) -> None:
    if len(title) > 300 or not title.isprintable():
        raise click.BadParameter(_("up to 300 printable characters"), param_hint="--title")


def _write(output: str, pdf: bytes) -> None:
    if output == "-":
        sys.stdout.buffer.write(pdf)
        return
    path = Path(output)
    try:
        with path.open("xb") as file:
            file.write(pdf)
    except FileExistsError:
        raise click.UsageError(_("{file} exists; name another file").format(file=output)) from None
    except OSError as error:
        why = _("{file} cannot be written: {why}").format(file=output, why=error.strerror)
        raise click.ClickException(why) from None


COMMANDS = (cover_sheet,)
