"""A link between two incarnations: what its two halves are told, and what they ask for (R2, R3, R4).

Rules of this module, of ``sender_link`` and of ``receiver_link``: pure. No socket, no clock: time comes as an
argument, in monotonic seconds. A link knows bytes, numbers, tasks and credit, and nothing of what messages mean.

1. Numbers begin at 1. The sender keeps a message until *received* passes its number.
2. The receiver takes only the next number, so what it gives on comes once and in order.
3. *received* and *taken* are positions that only grow: told twice or late, they do no harm.
4. What is outstanding for a task (sent and not yet taken) never exceeds the window, but one frame may always go when
   nothing is outstanding for that task.
5. A message from a later placement than the receiver's waits at the head of the link, with all that follows it.
6. Every buffer has a bound in `LinkLimits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from consecution.value import value

if TYPE_CHECKING:
    from consecution.guarantee.messages import Root
    from consecution.wire.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """Bounds and times of a link; equal on both ends.

    Attributes:
        window_items: Most items outstanding for a target task.
        window_bytes: Most bytes outstanding for a target task.
        unconfirmed_bytes_max: Most bytes sent and not yet confirmed; one message may always go when there are none.
        unconfirmed_messages_max: Likewise in messages.
        unsent_bytes_max: Most bytes that wait at the sender, for credit or for the connection.
        unread_bytes_max: Most bytes that wait at the receiver for a later placement; beyond it they are dropped
            unread and sent again.
        message_bytes_max: Largest message.
        packet_bytes: Small messages are put together up to this size.
        position_interval_s: A position is told at the latest after this while anything is outstanding.
        silence_s: After this without progress the sender repeats or asks; doubled each time.
        silence_max_s: Longest such pause.
    """

    window_items: int = 65_536
    window_bytes: int = 4 << 20
    unconfirmed_bytes_max: int = 16 << 20
    unconfirmed_messages_max: int = 16_384
    unsent_bytes_max: int = 64 << 20
    unread_bytes_max: int = 2 << 20
    message_bytes_max: int = (16 << 20) - 4096
    packet_bytes: int = 64 << 10
    position_interval_s: float = 0.1
    silence_s: float = 1.0
    silence_max_s: float = 16.0


@dataclass(slots=True, eq=False)
class Parcel:
    """An encoded message on its way; owned by the sender's half of the link.

    Attributes:
        parts: Its bytes.
        size: Their length.
        placement: Number of the placement that its sender knew.
        roots: Roots that it keeps open, for audits (R13).
        task: Target task; None when it is for the process.
        items: Items that count against the task's credit; 0 for what needs no credit.
        mark: What tells flush marks apart of which only the newest waits (R18); None for all else.
        is_superseded: A newer mark has taken its place.
    """

    parts: tuple[bytes, ...]
    size: int
    placement: int
    roots: tuple[Root, ...] = ()
    task: int | None = None
    items: int = 0
    mark: tuple[int, ...] | None = None
    is_superseded: bool = False


@value
class Send:
    """To the sender's half: send this, as soon as it may go; with ``more``, in one packet with what follows at once."""

    parcel: Parcel
    more: bool = False


@value
class Told:
    """To the sender's half: the receiver told its position; ``taken`` is None when it told *received* alone."""

    received: int
    taken: tuple[tuple[int, int, int], ...] | None = None
    again: bool = False


@value
class Arrived:
    """To the receiver's half: messages came, numbered from ``number`` on, sent under ``placement``."""

    number: int
    placement: int
    messages: tuple[tuple[Message, int], ...]


@value
class Placed:
    """To the receiver's half: my placement; ``tasks`` are those that it gives to me."""

    number: int
    tasks: frozenset[int]


@value
class Took:
    """To the receiver's half: a frame left the task's queue, into work or for good."""

    task: int
    items: int
    size: int


@value
class Asked:
    """To the receiver's half: the sender asks for the position."""


@value
class Connected:
    """To both halves: there is a new connection to the peer; what was in the old one may be lost."""


@value
class Blocked:
    """To both halves: the connection took nothing; ``number`` is the first message of the packet, 0 without one."""

    number: int


@value
class Writable:
    """To both halves: the connection takes packets again."""


@value
class Tick:
    """To both halves: time has passed."""


@value
class Transmit:
    """From the sender's half: put these messages, numbered from ``number`` on, into one packet."""

    number: int
    placement: int
    parts: tuple[bytes, ...]
    count: int


@value
class Ask:
    """From the sender's half: ask the receiver for its position."""


@value
class Eased:
    """From the sender's half: these tasks have credit again, and had none."""

    tasks: tuple[int, ...]


@value
class Tell:
    """From the receiver's half: tell the sender this position."""

    received: int
    taken: tuple[tuple[int, int, int], ...]
    again: bool


@value
class Deliver:
    """From the receiver's half: the next message."""

    message: Message
    size: int


@value
class Refuse:
    """From the receiver's half: the next message is for a task that my placement gives to another (R4)."""

    message: Message
    size: int


@value
class Behind:
    """From the receiver's half: the sender knows placement ``number``, and I don't."""

    number: int


SenderEvent: TypeAlias = Send | Told | Connected | Blocked | Writable | Tick
SenderInstruction: TypeAlias = Transmit | Ask | Eased
ReceiverEvent: TypeAlias = Arrived | Placed | Took | Asked | Connected | Blocked | Writable | Tick
ReceiverInstruction: TypeAlias = Tell | Deliver | Refuse | Behind
