"""The validation codes of OCFL 1.0 and 1.1, each with what it means, and findings that name them.

Codes that begin with E say that something breaks a MUST of the specification, those with W a
SHOULD. Codes that no program can test for, such as instructions to readers, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from archived.message import Message

MEANINGS: Mapping[str, str] = {
    "E001": Message("something that does not belong in an object's root"),
    "E003": Message("the declaration 0=ocfl_object_N is missing, or there are several"),
    "E004": Message("the declaration names a version of the specification that is not known"),
    "E007": Message("the declaration's content does not repeat its name"),
    "E008": Message("there is no version"),
    "E009": Message("the first version is not 1"),
    "E010": Message("a version is missing in the sequence"),
    "E011": Message("a zero-padded version does not begin with a zero"),
    "E013": Message("versions are padded in different ways"),
    "E015": Message("a file in a version's folder lies outside its content folder"),
    "E017": Message("contentDirectory is no name of one folder"),
    "E018": Message("contentDirectory is . or .."),
    "E019": Message("inventories name different content folders"),
    "E023": Message("a content file is not in the manifest"),
    "E024": Message("an empty folder in a content folder"),
    "E025": Message("digestAlgorithm is neither sha512 nor sha256, or a digest has another form"),
    "E033": Message("the inventory is no JSON"),
    "E034": Message("the inventory is no JSON object"),
    "E036": Message("id, type, digestAlgorithm or head is missing"),
    "E037": Message("id is empty, no text, or not that of the object"),
    "E038": Message("type is not that of an inventory"),
    "E040": Message("head is not the newest version"),
    "E041": Message("manifest or versions is missing"),
    "E042": Message("a content path lies outside the versions' content folders"),
    "E044": Message("versions is no JSON object"),
    "E046": Message("versions and version folders differ"),
    "E047": Message("a version is no JSON object"),
    "E048": Message("a version lacks created or state"),
    "E049": Message("created is no date and time of RFC 3339 with seconds and a zone"),
    "E050": Message("a digest in a version's state is not in the manifest"),
    "E052": Message("a logical path has an element that is ., .. or empty"),
    "E053": Message("a logical path begins or ends with a slash"),
    "E054": Message("user is no object with a name"),
    "E057": Message("fixity does not have the form of a manifest"),
    "E058": Message("an inventory has no sidecar"),
    "E060": Message("the sidecar's digest is not that of the inventory"),
    "E061": Message("the sidecar does not have the form DIGEST inventory.json"),
    "E063": Message("the object has no inventory"),
    "E064": Message("the object's inventory is not that of its newest version"),
    "E066": Message("an earlier inventory tells another state of a version"),
    "E067": Message("a file in the extensions folder"),
    "E069": Message("the storage root's declaration 0=ocfl_N is missing, wrong or not alone"),
    "E070": Message("ocfl_layout.json lacks extension or description, or is no JSON object"),
    "E072": Message("files in the storage root's hierarchy that belong to no object"),
    "E073": Message("an empty folder in the storage root's hierarchy"),
    "E081": Message("an object conforms to a later version of the specification than its root"),
    "E090": Message("a link, a device or another thing that is neither file nor folder"),
    "E092": Message("a file is missing or is not what the manifest says"),
    "E093": Message("a file is missing or is not what fixity says"),
    "E094": Message("message is no text"),
    "E095": Message("a logical path is used twice, or as a file and as a folder"),
    "E096": Message("a digest stands in the manifest twice"),
    "E097": Message("a digest stands in fixity twice"),
    "E099": Message("a content path has an element that is ., .. or empty"),
    "E100": Message("a content path begins or ends with a slash"),
    "E101": Message("a content path is used twice, or as a file and as a folder"),
    "E103": Message("an inventory conforms to an earlier version than the one before it"),
    "E106": Message("manifest is no JSON object of lists of paths"),
    "E107": Message("the manifest has a digest that no version uses"),
    "E111": Message("fixity is no JSON object"),
    "W001": Message("versions are zero-padded"),
    "W002": Message("a folder in a version's folder is not its content folder"),
    "W003": Message("an empty content folder"),
    "W004": Message("digestAlgorithm is not sha512"),
    "W005": Message("id is no URI"),
    "W007": Message("a version has no message or no user"),
    "W008": Message("a user has no address"),
    "W009": Message("a user's address is no URI"),
    "W010": Message("a version has no inventory of its own"),
    "W011": Message("inventories tell different created, message or user of a version"),
    "W013": Message("an extension that is not registered"),
}
"""Code -> what it says."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One code, where it was met, and what was met there."""

    code: str
    where: str
    """A path below what was validated; inside an inventory followed by # and a key."""
    what: str = ""

    @property
    def is_error(self) -> bool:
        """Whether it makes the object or the root invalid."""
        return self.code.startswith("E")


class Findings:
    """What was met so far. Equal findings count once; of one code at most `most` are kept."""

    def __init__(self, most: int = 100) -> None:
        self._found: dict[Finding, None] = {}
        self.unread: dict[str, str] = {}
        """Path -> why it could not be read: neither good nor bad."""
        self.counts: dict[str, int] = {}
        self._most = most

    def add(self, code: str, where: str, what: object = "") -> None:
        """Note a finding. `what` may be anything received; it is cut to 200 characters."""
        finding = Finding(code, where, str(what)[:200])
        if finding not in self._found:
            self.counts[code] = self.counts.get(code, 0) + 1
            if self.counts[code] <= self._most:
                self._found[finding] = None

    def cannot_read(self, where: str, error: OSError) -> None:
        """Note something that nobody could look at."""
        self.unread.setdefault(where, error.strerror or str(error))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """In the order in which they were met."""
        return tuple(self._found)

    @property
    def errors(self) -> bool:
        """Whether anything breaks a MUST."""
        return any(code.startswith("E") for code in self.counts)
