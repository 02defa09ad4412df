"""The hash tree of RFC 4998, section 4: one root for many data groups, and a path for each.

A data group is the list of digests of the data objects that are proven together. Digests are
bytes, all of one algorithm. A path is the `reducedHashtree` of the standard: the group's own
digests first, with their siblings where the group is one object; then the siblings of each
ancestor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

Path = tuple[tuple[bytes, ...], ...]
"""Lists of digests, each in binary ascending order, from the leaf to below the root."""


def combine(digests: Sequence[bytes], algorithm: str) -> bytes:
    """The digest of several digests: concatenated in binary ascending order (section 4.2, 4).

    One digest stands for itself: a data group of one object is that object's digest.
    """
    if len(digests) == 1:
        return digests[0]
    return hashlib.new(algorithm, b"".join(sorted(digests))).digest()


class HashTree:
    """A binary tree over data groups. Of a level with an odd count the last node moves up."""

    def __init__(self, groups: Sequence[Sequence[bytes]], algorithm: str = "sha256") -> None:
        """`groups`: per group the digests of its data objects. Raises `ValueError` for no group,
        an empty group, or a digest whose length is not the algorithm's.
        """
        size = hashlib.new(algorithm).digest_size
        if not groups or not all(groups):
            raise ValueError("a hash tree needs at least one digest in each group")
        if any(len(digest) != size for group in groups for digest in group):
            raise ValueError(f"a digest of {algorithm} has {size} bytes")
        self.algorithm = algorithm
        self._groups = [tuple(sorted(group)) for group in groups]
        self._levels = [[combine(group, algorithm) for group in self._groups]]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            self._levels.append(
                [combine(below[at : at + 2], algorithm) for at in range(0, len(below), 2)]
            )

    @property
    def root(self) -> bytes:
        """What is time-stamped."""
        return self._levels[-1][0]

    def path(self, group: int) -> Path:
        """The reduced hash tree of the group at this index; empty where the root is its digest."""
        own = self._groups[group]
        lists: list[tuple[bytes, ...]] = [own] if len(own) > 1 else []
        at = group
        for level in self._levels[:-1]:
            sibling = at ^ 1
            if sibling < len(level):
                told = (level[sibling],) if lists else tuple(sorted((level[sibling], level[at])))
                lists.append(told)
            at //= 2
        return tuple(lists)


def root_of(path: Path, algorithm: str) -> bytes:
    """The root that a path leads to (section 4.3, steps 2 and 3). `path` must not be empty."""
    first, *others = path
    reached = combine(first, algorithm)
    for siblings in others:
        # A list of siblings never stands alone here: the digest reached so far joins it.
        reached = combine((*siblings, reached), algorithm)
    return reached
