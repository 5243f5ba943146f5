"""What happens to the coordinator, and what it does about it.

Rules of this module: values only. A *peer* is an opaque id of a connection, from the shell; an answer to a peer that is
gone is dropped, since whoever asked asks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from consecution.value import value

if TYPE_CHECKING:
    from consecution.wire.cluster.from_client import FromClient
    from consecution.wire.cluster.from_worker import FromWorker
    from consecution.wire.control import Letter
    from consecution.wire.placement import Placement


@value
class WorkerSaid:
    """A message of a worker; the shell has checked that its key may send it."""

    peer: bytes
    request: str
    message: FromWorker


@value
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


@value
class Tick:
    """Time has passed; about four times a second."""


Event: TypeAlias = WorkerSaid | ClientAsked | Tick


@value
class Tell:
    """Send a message to a peer."""

    peer: bytes
    message: object
    request: str = ""


@value
class Publish:
    """Publish a placement."""

    placement: Placement


@value
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


@value
class SaveWorker:
    """Keep a worker; durable before the next instruction is done."""

    name: str
    body: bytes


@value
class ForgetTopology:
    """Remove a topology that is over, its letters and, if no other uses it, its bundle."""

    name: str


@value
class ForgetWorker:
    """Remove a worker that nothing names any more."""

    name: str


@value
class SaveLetters:
    """Keep dead letters; durable before the next instruction is done."""

    name: str
    letters: tuple[Letter, ...]


@value
class VoidLetters:
    """Forget the dead letters of a topology: it starts over (R17), or its name is given to another run."""

    name: str


@value
class TellLetters:
    """Answer a client with kept letters, which only the store has."""

    peer: bytes
    request: str
    name: str
    first: int


@value
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
