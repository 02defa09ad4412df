"""What plug-ins see; `__all__` is the contract. It imports nothing of `archived` but `message`."""

from archived.api.cover_sheet import Sheet, SheetError, SheetKind, check_dossier
from archived.api.events import EVENTS, Event
from archived.api.failures import Failure, Postpone, Refuse, Region, Review
from archived.api.hooks import hookimpl
from archived.api.options import (
    Duration,
    Options,
    SecretRef,
    Size,
    StageConfig,
    parse_duration,
    parse_size,
)
from archived.api.stage import (
    API_VERSION,
    Artifact,
    Context,
    Document,
    Needs,
    Part,
    Result,
    Role,
    Sealed,
    Stage,
    digest_file,
)
from archived.api.target import Copy, Target, TargetConfig, check_key
from archived.message import Message, sequence

__all__ = [
    "API_VERSION",
    "EVENTS",
    "Artifact",
    "Context",
    "Copy",
    "Document",
    "Duration",
    "Event",
    "Failure",
    "Message",
    "Needs",
    "Options",
    "Part",
    "Postpone",
    "Refuse",
    "Region",
    "Result",
    "Review",
    "Role",
    "Sealed",
    "SecretRef",
    "Sheet",
    "SheetError",
    "SheetKind",
    "Size",
    "Stage",
    "StageConfig",
    "Target",
    "TargetConfig",
    "check_dossier",
    "check_key",
    "digest_file",
    "hookimpl",
    "parse_duration",
    "parse_size",
    "sequence",
]
