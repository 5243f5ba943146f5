"""What happens to the coordinator, and what it does about it.

Rules of this module: values only. A *peer* is an opaque id of a connection, from the shell; an answer to a peer that is
gone is dropped, since whoever asked asks again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from consecution.wire.cluster.from_client import FromClient
    from consecution.wire.cluster.from_worker import FromWorker
    from consecution.wire.control import Letter
    from consecution.wire.placement import Placement


@dataclass(frozen=True, slots=True)
class WorkerSaid:
    """A message of a worker; the shell has checked that its key may send it."""

    peer: bytes
    request: str
    message: FromWorker


@dataclass(frozen=True, slots=True)
class ClientAsked:
    """A question of a client; the shell has checked that its key may ask it.

    Attributes:
        peer: Who asked.
        request: Id that the answer repeats.
        message: What.
        have_bytes: With a `Submit`: how much of its bundle is there.
        who: Id of the client's key, for the history; "" without keys.
    """

    peer: bytes
    request: str
    message: FromClient
    have_bytes: int = 0
    who: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; about four times a second."""


Event: TypeAlias = WorkerSaid | ClientAsked | Tick


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to a peer."""

    peer: bytes
    message: object
    request: str = ""


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish a placement."""

    placement: Placement


@dataclass(frozen=True, slots=True)
class SaveTopology:
    """Keep a topology; durable before the next instruction is done.

    Attributes:
        name: Its name, the key.
        body: Packed `Topology`.
        submit: Packed `Submit`, when it is new; None to leave the one that is kept.
    """

    name: str
    body: bytes
    submit: bytes | None = None


@dataclass(frozen=True, slots=True)
class SaveWorker:
    """Keep a worker; durable before the next instruction is done."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class ForgetTopology:
    """Remove a topology that is over, its letters and, if no other uses it, its bundle."""

    name: str


@dataclass(frozen=True, slots=True)
class ForgetWorker:
    """Remove a worker that nothing names any more."""

    name: str


@dataclass(frozen=True, slots=True)
class SaveLetters:
    """Keep dead letters; durable before the next instruction is done."""

    name: str
    letters: tuple[Letter, ...]


@dataclass(frozen=True, slots=True)
class VoidLetters:
    """Forget the dead letters of a topology: it starts over (R17), or its name is given to another run."""

    name: str


@dataclass(frozen=True, slots=True)
class TellLetters:
    """Answer a client with kept letters, which only the store has."""

    peer: bytes
    request: str
    name: str
    first: int


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log."""

    text: str
    is_warning: bool = False


Instruction: TypeAlias = (
    Tell
    | Publish
    | SaveTopology
    | SaveWorker
    | ForgetTopology
    | ForgetWorker
    | SaveLetters
    | VoidLetters
    | TellLetters
    | Note
)
