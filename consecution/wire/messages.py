"""What travels on links, as frozen values and as bytes (R2, R7 to R13, R18, R19).

Rules of this module: pure. Each message's bytes tell their own kind and length, so that several travel in one packet
(``consecution.wire.envelope``). A frame's items stay packed here: ``consecution.wire.codec`` packs and reads them.
Bytes from a peer are hostile until decoded: whatever they are, ``decode`` gives a message or raises `ProtocolError`.
"""

from __future__ import annotations

import struct
import sys
import threading
from array import array
from typing import TYPE_CHECKING, Any, TypeAlias

import msgpack  # type: ignore[import-untyped]

from consecution.errors import CodecError, ProtocolError
from consecution.guarantee.messages import WHOLE, Cause, Fail, Init, Sum, Verdict
from consecution.value import value
from consecution.wire.runs import pack_origins, pack_runs, unpack_origins, unpack_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.guarantee.messages import Incarnation, Root
    from consecution.wire.runs import Code

HEAD_BYTES_MAX = 4 << 20
"""Most bytes of a message beside a frame's items: what msgpack may be asked to read."""

ITEMS_MAX = 1 << 20
"""Most items in a frame."""

_PREFIX = struct.Struct(">BII")  # kind of the message, bytes of its head, bytes of its tail
PREFIX_BYTES = _PREFIX.size
_TEXT_MAX = 64 << 10


@value
class Data:
    """A frame (R8), its items packed.

    Attributes:
        task: Number of the task that it is for.
        items: The values, packed by ``consecution.wire.codec``.
        count: How many they are; what credit counts.
        roots: The roots that it descends from; empty at level NONE.
        ids: One edge id for each root.
        producers: Incarnation of each root's producer.
        origins: One code for each item, ``place of the root << 32 | index`` or a tuple of such; None while the frame
            still is the batch.
        solo: The items are alone in their root (R14).
    """

    task: int
    items: bytes
    count: int
    roots: tuple[Root, ...] = ()
    ids: tuple[int, ...] = ()
    producers: tuple[Incarnation, ...] = ()
    origins: Sequence[Code] | None = None
    solo: bool = False


@value
class Sums:
    """Sums of many roots for one acker (R9)."""

    sums: tuple[Sum, ...]


@value
class Verdicts:
    """Verdicts for one producer (R10)."""

    verdicts: tuple[Verdict, ...]


@value
class FlushMark:
    """Holders behind this edge must push what they hold (R18).

    Attributes:
        task: Task that it is for.
        sender: Where it comes from: number of the upstream task, or -1 - place of the producer.
        origin: Incarnation of the producer that asked for the flush.
        number: A task forwards each (origin, number) once; a link carries only the newest that waits.
    """

    task: int
    sender: int
    origin: Incarnation
    number: int


@value
class EndMark:
    """An upstream task, or a producer, has ended (R19).

    Attributes:
        task: Task that it is for.
        sender: Number of the upstream task, or -1 - place of the producer.
    """

    task: int
    sender: int


@value
class Audit:
    """Roots of one acker that the sender has queued, in work, held, unsent or unconfirmed (R13).

    From an acker, without roots, it is the question: the round ``number``, to be answered at once.
    """

    number: int
    roots: tuple[Root, ...]


@value
class Hello:
    """Who speaks, in words that a person can use: for logs and for refusals that name both sides."""

    role: str
    name: str
    host: str
    process: int
    library: str


Message: TypeAlias = Data | Init | Sums | Verdicts | FlushMark | EndMark | Audit | Hello


class _Heads(threading.local):
    """Each thread's packer of heads: making one costs more than a head."""

    def __init__(self) -> None:
        self.pack = msgpack.Packer(use_bin_type=True).pack


_heads = _Heads()


def encode(message: Message) -> tuple[bytes, ...]:
    """Give a message's bytes in parts, to be joined once, by whoever builds the packet.

    Raises:
        CodecError: A field can't travel: a number beyond 64 bits, text that is no Unicode, a head of over 4 MiB.
    """
    kind, pack, _ = _KINDS_BY_TYPE[type(message)]
    try:
        head: bytes = _heads.pack(pack(message))
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        msg = f"a {type(message).__name__} can't be packed: {error}; its fields must be numbers of 64 bits and text"
        raise CodecError(
            msg,
            path=type(message).__name__,
        ) from error
    if len(head) > HEAD_BYTES_MAX:
        msg = (
            f"a {type(message).__name__} has {len(head):,} bytes beside its items; at most {HEAD_BYTES_MAX:,} travel: "
            "send it in several"
        )
        raise CodecError(
            msg,
            path=type(message).__name__,
        )
    if kind == _DATA:
        items: bytes = message.items  # type: ignore[union-attr]  # the kind says that it is Data
        return (_PREFIX.pack(kind, len(head), len(items)) + head, items)
    return (_PREFIX.pack(kind, len(head), 0) + head,)


def decode(data: bytes, offset: int = 0) -> tuple[Message, int]:
    """Read one message that begins at ``offset``.

    Returns:
        The message, and the offset of what follows it.

    Raises:
        ProtocolError: The bytes are not a message, for whatever reason.
    """
    if len(data) - offset < PREFIX_BYTES:
        msg = f"{len(data) - offset} bytes are too few for a message"
        raise ProtocolError(msg)
    kind, head_bytes, tail_bytes = _PREFIX.unpack_from(data, offset)
    start = offset + PREFIX_BYTES
    middle = start + head_bytes
    end = middle + tail_bytes
    known = _KINDS.get(kind)
    if known is None:
        msg = f"message of unknown kind {kind}"
        raise ProtocolError(msg)
    if head_bytes > HEAD_BYTES_MAX or end > len(data) or (tail_bytes and kind != _DATA):
        msg = f"a message of kind {kind} claims {head_bytes} + {tail_bytes} bytes; too many"
        raise ProtocolError(msg)
    try:
        fields = msgpack.unpackb(
            data[start:middle],
            use_list=False,
            raw=False,
            strict_map_key=True,
            max_map_len=0,
            max_ext_len=0,
            max_str_len=_TEXT_MAX,
            max_bin_len=HEAD_BYTES_MAX,
            max_array_len=ITEMS_MAX,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        msg = f"a message of kind {kind} is not readable: {type(error).__name__}"
        raise ProtocolError(msg) from error
    if type(fields) is not tuple:
        msg = f"a message of kind {kind} is not a list of fields"
        raise ProtocolError(msg)
    try:
        return known(fields, data[middle:end] if tail_bytes else b""), end
    except (ValueError, TypeError, IndexError) as error:
        msg = f"a message of kind {kind} has wrong fields: {error!s:.100}"
        raise ProtocolError(msg) from error


def roots_of(message: Message) -> tuple[Root, ...]:
    """Roots that a message on its way keeps open: what an audit names (R13)."""
    match message:
        case Data():
            return message.roots
        case Init():
            return (message.root,)
        case Sums():
            return tuple(one.root for one in message.sums)
        case Verdicts():
            return tuple(one.root for one in message.verdicts)
    return ()


def task_of(message: Message) -> int | None:
    """Task that a message is for; None when it is for the process."""
    return message.task if isinstance(message, (Data, FlushMark, EndMark)) else None


# Checks of fields. They raise ValueError; ``decode`` makes it a ProtocolError.


def _word(value: Any) -> int:
    if type(value) is not int or value < 0:
        msg = f"expected a number from 0, not {value!r:.40}"
        raise ValueError(msg)
    return value


def _number(value: Any) -> int:
    if type(value) is not int:
        msg = f"expected a number, not {value!r:.40}"
        raise ValueError(msg)
    return value


def _words(value: Any) -> tuple[int, ...]:
    if type(value) is tuple and (not value or (len(value) == 1 and type(value[0]) is int and value[0] >= 0)):
        return value  # by far the most frequent
    if type(value) is not tuple or not set(map(type, value)) <= {int} or min(value) < 0:
        msg = "expected a list of numbers from 0"
        raise ValueError(msg)
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        msg = f"expected true or false, not {value!r:.40}"
        raise ValueError(msg)
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        msg = f"expected text, not {value!r:.40}"
        raise ValueError(msg)
    return value


def _list(value: Any) -> tuple[Any, ...]:
    if type(value) is not tuple:
        msg = f"expected a list, not {value!r:.40}"
        raise ValueError(msg)
    return value


def _fields(value: Any, least: int, most: int) -> tuple[Any, ...]:
    """A list of fields: trailing ones may be left out, and unknown later ones are refused."""
    if type(value) is not tuple or not least <= len(value) <= most:
        msg = f"expected {least} to {most} fields"
        raise ValueError(msg)
    return value


# Data


def _pack_data(one: Data) -> Any:
    return (one.task, one.count, one.roots, one.ids, one.producers, pack_origins(one.origins), one.solo)


def _read_data(fields: tuple[Any, ...], tail: bytes) -> Data:
    task, count, roots, ids, producers, origins, solo = _fields(fields, 7, 7)
    if _word(count) > ITEMS_MAX:
        msg = "more items than a frame may have"
        raise ValueError(msg)
    if not len(_words(roots)) == len(_words(ids)) == len(_words(producers)):
        msg = "roots, edge ids and producers are not of one length"
        raise ValueError(msg)
    codes = unpack_origins(origins, count, len(roots))
    return Data(_word(task), tail, count, roots, ids, producers, codes, _flag(solo))


# Causes and fails: a message has one table of causes, so that equal ones travel once (R10)


def _pack_cause(one: Cause) -> Any:
    return (one.node, one.exception, one.message, one.traceback, one.value, one.host, one.process)


def _read_cause(value: Any) -> Cause:
    *texts, process = _fields(value, 7, 7)
    node, exception, message, traceback, repr_, host = map(_text, texts)
    return Cause(node, exception, message, traceback, repr_, host, _word(process))


class _Causes:
    """The table of causes of a message while it is being packed."""

    def __init__(self) -> None:
        self.table: list[Any] = []
        self._places: dict[Cause, int] = {}

    def place(self, cause: Cause | None) -> int | None:
        if cause is None:
            return None
        place = self._places.get(cause)
        if place is None:
            place = self._places[cause] = len(self.table)
            self.table.append(_pack_cause(cause))
        return place

    def pack_fails(self, fails: tuple[Fail, ...]) -> Any:
        return [(one.root, pack_runs(one.indexes), self.place(one.cause), one.went_on) for one in fails]


def _read_causes(value: Any) -> tuple[Cause, ...]:
    return tuple(_read_cause(one) for one in _list(value))


def _read_cause_at(place: Any, causes: tuple[Cause, ...]) -> Cause | None:
    return None if place is None else causes[_word(place)]


def _read_fails(value: Any, causes: tuple[Cause, ...]) -> tuple[Fail, ...]:
    fails = []
    for one in _list(value):
        root, indexes, place, went_on = _fields(one, 4, 4)
        cause = _read_cause_at(place, causes)
        fails.append(Fail(_word(root), tuple(unpack_runs(indexes)), cause, _flag(went_on)))
    return tuple(fails)


# Inits, sums and verdicts. Sets travel sorted: equal messages have equal bytes.


def _pack_init(one: Init) -> Any:
    return (one.root, one.producer, one.word, sorted(one.sent_to))


def _read_init(fields: tuple[Any, ...], tail: bytes) -> Init:
    root, producer, word, sent_to = _fields(fields, 4, 4)
    return Init(_word(root), _word(producer), _word(word), frozenset(_words(sent_to)))


def _pack_sum(one: Sum, causes: _Causes) -> Any:
    short = (one.root, one.producer, one.word, sorted(one.sent_to))
    if not (one.fails or one.dropped or one.reached or one.refused):
        return short
    return (*short, causes.pack_fails(one.fails), one.dropped, sorted(one.reached), one.refused)


def _pack_sums(one: Sums) -> Any:
    causes = _Causes()
    sums = [_pack_sum(each, causes) for each in one.sums]
    return (sums, causes.table)


def _read_sum(value: Any, causes: tuple[Cause, ...]) -> Sum:
    fields = _fields(value, 4, 8)
    root, producer, word, sent_to = fields[:4]
    if len(fields) == 4:
        return Sum(_word(root), _word(producer), _word(word), frozenset(_words(sent_to)))
    fails, dropped, reached, refused = _fields(fields[4:], 4, 4)
    return Sum(
        _word(root),
        _word(producer),
        _word(word),
        frozenset(_words(sent_to)),
        _read_fails(fails, causes),
        _word(dropped),
        frozenset(_text(name) for name in _list(reached)),
        _flag(refused),
    )


def _read_sums(fields: tuple[Any, ...], tail: bytes) -> Sums:
    sums, table = _fields(fields, 2, 2)
    causes = _read_causes(table)
    return Sums(tuple(_read_sum(one, causes) for one in _list(sums)))


def _pack_verdict(one: Verdict, causes: _Causes) -> Any:
    if one == Verdict(one.root, one.producer):
        return (one.root, one.producer)
    failed = causes.pack_fails(one.failed)
    crash = causes.place(one.crash)
    suspects = None if WHOLE in one.suspects else pack_runs(one.suspects)
    return (one.root, one.producer, failed, one.lost, suspects, crash, one.charged, one.dropped, sorted(one.reached))


def _pack_verdicts(one: Verdicts) -> Any:
    causes = _Causes()
    verdicts = [_pack_verdict(each, causes) for each in one.verdicts]
    return (verdicts, causes.table)


def _read_verdict(value: Any, causes: tuple[Cause, ...]) -> Verdict:
    fields = _fields(value, 2, 9)
    if len(fields) == 2:
        return Verdict(_word(fields[0]), _word(fields[1]))
    root, producer, failed, lost, suspects, crash, charged, dropped, reached = _fields(fields, 9, 9)
    return Verdict(
        _word(root),
        _word(producer),
        _read_fails(failed, causes),
        _flag(lost),
        (WHOLE,) if suspects is None else tuple(unpack_runs(suspects)),
        _read_cause_at(crash, causes),
        _flag(charged),
        _word(dropped),
        frozenset(_text(name) for name in _list(reached)),
    )


def _read_verdicts(fields: tuple[Any, ...], tail: bytes) -> Verdicts:
    verdicts, table = _fields(fields, 2, 2)
    causes = _read_causes(table)
    return Verdicts(tuple(_read_verdict(one, causes) for one in _list(verdicts)))


# Marks, audits, hello


def _pack_flush(one: FlushMark) -> Any:
    return (one.task, one.sender, one.origin, one.number)


def _read_flush(fields: tuple[Any, ...], tail: bytes) -> FlushMark:
    task, sender, origin, number = _fields(fields, 4, 4)
    return FlushMark(_word(task), _number(sender), _word(origin), _word(number))


def _pack_end(one: EndMark) -> Any:
    return (one.task, one.sender)


def _read_end(fields: tuple[Any, ...], tail: bytes) -> EndMark:
    task, sender = _fields(fields, 2, 2)
    return EndMark(_word(task), _number(sender))


def _swapped(words: array[int]) -> array[int]:
    if sys.byteorder == "little":
        words.byteswap()  # eight bytes each, the highest first, on every machine
    return words


def _pack_audit(one: Audit) -> Any:
    return (one.number, _swapped(array("Q", one.roots)).tobytes())


def _read_audit(fields: tuple[Any, ...], tail: bytes) -> Audit:
    number, packed = _fields(fields, 2, 2)
    if type(packed) is not bytes or len(packed) % 8:
        msg = "the roots of an audit are not words of eight bytes"
        raise ValueError(msg)
    return Audit(_word(number), tuple(_swapped(array("Q", packed))))


def _pack_hello(one: Hello) -> Any:
    return (one.role, one.name, one.host, one.process, one.library)


def _read_hello(fields: tuple[Any, ...], tail: bytes) -> Hello:
    role, name, host, process, library = _fields(fields, 5, 5)
    return Hello(_text(role), _text(name), _text(host), _word(process), _text(library))


_DATA = 1
_TABLE: tuple[tuple[int, type[Any], Callable[[Any], Any], Callable[[tuple[Any, ...], bytes], Any]], ...] = (
    (_DATA, Data, _pack_data, _read_data),
    (2, Init, _pack_init, _read_init),
    (3, Sums, _pack_sums, _read_sums),
    (4, Verdicts, _pack_verdicts, _read_verdicts),
    (5, FlushMark, _pack_flush, _read_flush),
    (6, EndMark, _pack_end, _read_end),
    (7, Audit, _pack_audit, _read_audit),
    (8, Hello, _pack_hello, _read_hello),
)
_KINDS = {kind: read for kind, _, _, read in _TABLE}
_KINDS_BY_TYPE = {type_: (kind, pack, read) for kind, type_, pack, read in _TABLE}
