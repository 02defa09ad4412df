"""What `Target.check` of our own kinds of target yields. Others may yield plain sentences."""

from __future__ import annotations


class Problem(str):
    """A sentence for `Target.check` that also carries the code of the `Postpone` it leads to."""

    __slots__ = ("code",)
    code: str

    def __new__(cls, sentence: str, *, code: str) -> Problem:
        problem = super().__new__(cls, sentence)
        problem.code = code
        return problem
