"""What stands on an invented paper: decided from a seed, before anything is drawn.

A `Paper` is facts and text; where they go on the sheet is `layout`'s business.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from archived.testing.samples import words
from archived.testing.samples.words import Body, Kind

SECRECY = ("Mật", "Tối mật", "Tuyệt mật")
URGENCY = ("Khẩn", "Thượng khẩn", "Hỏa tốc")


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of body: `kind` is `para`, `bold`, `centre` or `table` (then `rows` count)."""

    kind: str
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Paper:
    """An invented paper. `seed` makes the endless body reproducible."""

    kind: Kind
    body: Body
    party: bool
    number: str
    notation: str
    issued: date
    subject: str
    signer: str
    signer_title: str
    secrecy: str | None = None
    urgency: str | None = None
    seed: str = ""
    addressees: tuple[str, ...] = ()
    recipients: tuple[str, ...] = field(default=())

    @property
    def number_line(self) -> str:
        """As printed: `Số: 12/QĐ-UBND`, or the party's `Số 12-QĐ/TU`."""
        if self.party:
            return f"Số {self.number}-{self.notation}"
        return f"Số: {self.number}/{self.notation}"

    @property
    def date_line(self) -> str:
        """Day and month below ten with a leading zero, as an older clerk would (months 1, 2)."""
        day, month = self.issued.day, self.issued.month
        shown = f"{month:02d}" if month < 3 else str(month)
        return f"{self.body.place}, ngày {day:02d} tháng {shown} năm {self.issued.year}"

    @property
    def is_letter_head(self) -> bool:
        """A dispatch has no centred title; its subject stands below the number."""
        return self.kind.name == "Công văn"

    def truth(self) -> dict[str, Any]:
        """The fields a classifier should find; `None` where the paper has none."""
        separator = "-" if self.party else "/"
        return {
            "system": "party" if self.party else "state",
            "type_name": self.kind.name,
            "type_abbr": self.kind.code,
            "number": self.number,
            "notation": self.notation,
            "code": f"{self.number}{separator}{self.notation}",
            "issued_date": self.issued.isoformat(),
            "place": self.body.place,
            "organ": " ".join(self.body.lines),
            "parent_organ": " ".join(self.body.parent) or None,
            "subject": self.subject,
            "signer": self.signer,
            "signer_title": self.signer_title,
            "secrecy": self.secrecy,
            "urgency": self.urgency,
        }


def kinds() -> Mapping[str, Kind]:
    """Every kind of paper by its key: state first, then party."""
    return {**words.STATE_KINDS, **words.PARTY_KINDS}


def person(rng: random.Random) -> str:
    """A name nobody is likely to bear."""
    return f"{rng.choice(words.FAMILY)} {rng.choice(words.MIDDLE)} {rng.choice(words.GIVEN)}"


def compose(key: str, seed: str, secrecy: str | None = None, urgency: str | None = None) -> Paper:
    """The paper of kind `key` (see `kinds`) that belongs to `seed`."""
    rng = random.Random(f"{key}:{seed}")
    party = key in words.PARTY_KINDS
    kind = kinds()[key]
    body = rng.choice(words.PARTY if party else words.STATE)
    if key == "resolution":
        body = words.COUNCIL
    if key == "directive":  # only a people's committee gives directives
        body = rng.choice([each for each in words.STATE if each.symbol == "UBND"])
    if party:
        notation = f"{kind.code}/{body.symbol}"
    elif kind.code is None:
        notation = f"{body.symbol}-{body.unit}"
    else:
        notation = f"{kind.code}-{body.symbol}"
    issued = date(1999, 1, 4) + timedelta(days=rng.randrange(9_700))
    topic = _fill(rng, rng.choice(words.TOPICS))
    if kind.opening in {"Thực hiện", "Kết quả", "Họp về"}:
        topic = f"công tác {topic}" if rng.random() < 0.3 else topic
    recipients = rng.sample(words.RECIPIENTS, 3)
    closing = "- Lưu Văn phòng." if party else f"- Lưu: VT, {body.unit}."
    return Paper(
        kind=kind,
        body=body,
        party=party,
        number=str(rng.randrange(2, 2400)),
        notation=notation,
        issued=issued,
        subject=f"{kind.opening} {topic}",
        signer=person(rng),
        signer_title=rng.choice(body.signers),
        secrecy=secrecy,
        urgency=urgency,
        seed=seed,
        addressees=tuple(rng.sample(words.ADDRESSEES, 1 + (rng.random() < 0.3))),
        recipients=(*recipients, closing),
    )


def _fill(rng: random.Random, template: str) -> str:
    year = rng.randrange(1999, 2025)
    values = {
        "n": rng.randrange(11, 2900),
        "d": rng.randrange(2, 29),
        "m": rng.randrange(1, 13),
        "y": year,
        "y5": year + 5,
        "p": rng.randrange(20, 90),
        "h": rng.randrange(7, 11),
        "h2": rng.randrange(13, 17),
        "born": rng.randrange(1948, 1994),
        "area": f"{rng.randrange(40, 990)},{rng.randrange(1, 10)}",
        "money": f"{rng.randrange(12, 980)}.{rng.randrange(100, 999)}.000",
    }
    while "{person}" in template:
        template = template.replace("{person}", person(rng), 1)
    return template.format(**values)


def _sentences(rng: random.Random) -> Iterator[str]:
    """Endless, each one or two sentences; none comes again before all others came."""
    specs: list[str] = []
    while True:
        if len(specs) < 2:
            specs = rng.sample(words.SENTENCES, len(words.SENTENCES))
        yield " ".join(_fill(rng, specs.pop()) for _ in range(rng.choice((1, 1, 2))))


def _table(rng: random.Random) -> Block:
    rows: list[tuple[str, ...]] = [words.COLUMNS]
    for index in range(1, rng.randrange(5, 9)):
        name = _fill(rng, rng.choice(words.ROWS))
        rows.append((str(index), name, str(rng.randrange(3, 240)), rng.choice(words.TERMS)))
    return Block("table", rows=tuple(rows))


def body_blocks(paper: Paper) -> Iterator[Block]:
    """The paper's body, endless: the layout stops when its pages are full."""
    rng = random.Random(f"body:{paper.kind.name}:{paper.seed}")
    build, sentences = paper.kind.build, _sentences(rng)
    if build == "articles":
        for ground in words.PARTY_GROUNDS if paper.party else words.GROUNDS:
            yield Block("para", _fill(rng, ground))
        yield Block("centre", paper.kind.name.upper() + ":")
    else:
        yield Block("para", next(sentences))
    index = 0
    while True:
        index += 1
        if build == "sections":
            heading = words.HEADINGS[(index - 1) % len(words.HEADINGS)]
            yield Block("bold", f"{_roman(index)}. {heading}")
            for point in range(1, rng.randrange(3, 5)):
                yield Block("para", f"{point}. {next(sentences)}")
        elif build == "articles":
            yield Block("para", f"Điều {index}. {next(sentences)}")
        elif build == "numbered":
            yield Block("para", f"{index}. {next(sentences)}")
        else:
            yield Block("para", next(sentences))
        if index % 3 == 2 and rng.random() < 0.6:
            yield _table(rng)


def _roman(number: int) -> str:
    tens, ones = divmod(number, 10)
    return "X" * tens + ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")[ones]
