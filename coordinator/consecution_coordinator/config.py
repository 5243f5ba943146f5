"""How a coordinator is started.

Rules of this module: values only; files, environment and flags are merged by the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from consecution_coordinator.limits import DEFAULTS, Limits

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class CoordinatorConfig:
    """How a coordinator runs.

    Attributes:
        data_dir: Its folder; made when it isn't there.
        bind: Where workers and clients come, as ``tcp://HOST:PORT``; ``*`` for any free port.
        news_bind: Where placements are published; "" for the next port of the same host.
        keys: File of its CURVE keys; needed off loopback.
        allowed: File of the public keys that may connect, with their roles; needed with `keys`. Read again when it
            changes.
        is_insecure: Bind off loopback without keys.
        limits: Times and bounds.
    """

    data_dir: Path
    bind: str = "tcp://127.0.0.1:7000"
    news_bind: str = ""
    keys: Path | None = None
    allowed: Path | None = None
    is_insecure: bool = False
    limits: Limits = DEFAULTS
