"""What a drill may ask for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from archived.api import Duration, Size, StageConfig

Fault = Literal[
    "none",
    "slow",
    "fail",
    "crash",
    "vanish",
    "hang",
    "eat-memory",
    "fill-disk",
    "leave-children",
    "wrong-output",
    "postpone",
    "refuse",
    "review",
]
WrongOutput = Literal[
    "outside-folder",
    "missing-file",
    "symlink",
    "wrong-media-type",
    "original",
    "facts-not-json",
]


class ErraticConfig(StageConfig):
    """Options of the stage."""

    i_know_what_this_does: bool = False
    """Must be `true`, else the stage does no work at all."""
    fault: Fault = "none"
    """What goes wrong."""
    output: WrongOutput = "outside-folder"
    """What is wrong with the output of `fault = "wrong-output"`."""
    only: str = "*"
    """Strike only documents whose received name matches this pattern (`*`, `?`, `[...]`)."""
    probability: float = Field(default=1.0, ge=0.0, le=1.0)
    """The share of documents struck. Which ones is decided by `seed` and the document's id."""
    seed: int = 0
    """Another number strikes other documents; the same number always the same."""
    first_attempts: int | None = Field(default=None, ge=1, examples=[2])
    """Strike a document only this many times, then behave. Needs `counter_folder`."""
    counter_folder: Path | None = Field(default=None, examples=["/srv/drill"])
    """Where strikes are counted, one file per document; it must exist and be writable."""
    duration: Duration = timedelta(seconds=30)
    """How long `slow` takes, `eat-memory` and `fill-disk` hold on, and children live."""
    amount: Size = 4 * 2**30
    """The most that `eat-memory` takes or `fill-disk` writes before it holds on."""
    children: int = Field(default=3, ge=1, le=50)
    """How many processes `leave-children` leaves behind."""
    review_code: Literal["erratic-review", "unread-content"] = "erratic-review"
    """The code that `review` asks for a look under; "unread-content" is that of a real reader."""
    regions: int = Field(default=2, ge=0, le=3000)
    """How many regions `review` names, each with a picture; more than 2000 are refused."""
    leave_group: bool = False
    """Whether those processes also leave the step's process group, to be harder to find."""

    @model_validator(mode="after")
    def _somewhere_to_count(self) -> ErraticConfig:
        if self.first_attempts is not None and self.counter_folder is None:
            raise ValueError("first_attempts needs a counter_folder to count in")
        return self
