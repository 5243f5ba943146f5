"""Items as bytes: MessagePack with the extension table of `consecution.wire.extensions`.

Rules of this module:

1. Faithful or refused: what `unpack` gives equals what `pack` got, type by type (a tuple in a dict stays a tuple, an
   aware datetime keeps its zone). Instances of subclasses (namedtuple, IntEnum, defaultdict) are refused unless their
   class is registered. Not kept: that two places held the same object. `msgpack.ExtType` and `Timestamp` are no
   values of ours, and a memoryview as the key of a dict comes back as bytes: msgpack packs them without asking.
2. Any bytes may be read: whatever is not exactly one value of the table raises CodecError. `Limits` bound what a
   message may cost before it is refused: bytes, depth, containers, and bytes copied for nested extensions. Memory
   stays below about 75 times the bytes for messages under 256 KiB (20 MB), and above that below ``containers_max``
   containers of at most 232 bytes plus 20 times the bytes. Not bounded: time lost in dicts whose keys were chosen to
   collide; only peers with a key get so far.
3. What `pack` gives, `unpack` takes under the same limits; so a sender finds out, not the receiver.
4. Thread-safe; classes are registered before threads start.
5. Where msgspec is installed it reads first, since it takes half the time; msgpack is the reference, and reads again
   what msgspec refuses. Of bytes that `pack` never gives two are read in another way: a timestamp of MessagePack is a
   datetime, and an array as the key of a dict a tuple. What is written is written by msgpack alone: msgspec doesn't
   tell a tuple from a list.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import chain
from struct import pack as struct_pack
from typing import TYPE_CHECKING, Any, TypeVar

from msgpack import ExtType, Packer, Unpacker, unpackb  # type: ignore[import-untyped]

from consecution.errors import CodecError, user_errors
from consecution.guarantee.batch_ends import BatchEnd
from consecution.wire.blame import find_blame
from consecution.wire.extensions import (
    BUILDERS,
    BYTEARRAY,
    CONTAINERS,
    NATIVE,
    READERS,
    REGISTERED,
    WRITERS,
)
from consecution.wire.fast import FastReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

NESTED_MAX = 32  # extensions within extensions; each level costs 40 KB of C stack in msgpack's reader
DEPTH_MAX = 500  # lists and dicts within each other; msgpack's writer stops at 511
CHECKED_BYTES = 256 * 1024  # smaller messages can't cost more than 20 MB and are not looked through first
_CONTAINER_HEADS = bytes([*range(0x80, 0xA0), *range(0xC7, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0)])
_KEPT_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one packed message may cost.

    Attributes:
        bytes_max: Its length.
        containers_max: Lists, dicts and extension values in it.
        nested_bytes_max: Bytes held at once as payloads of extensions within extensions.
    """

    bytes_max: int
    containers_max: int
    nested_bytes_max: int


WIRE = Limits(bytes_max=16 * 2**20, containers_max=1_000_000, nested_bytes_max=64 * 2**20)
DISK = Limits(bytes_max=2**31 - 1, containers_max=2**40, nested_bytes_max=2**40)  # our own, checked by a CRC


class ItemNotPackable(CodecError):
    """One item of a batch can't travel.

    Args:
        message: What can't be packed, and what to do.
        path: The place inside the item, as ``item['when'].tz``.
        index: The item's place in the batch.
    """

    def __init__(self, message: str, *, path: str, index: int) -> None:
        super().__init__(message, path=path)
        self.index = index


class _OverLimit(ValueError):
    """It can be packed, but into more than may travel: no part of it is to blame."""


class _Bench:
    """One thread's packers: one for each level of extensions within extensions, since a packer is not reentrant."""

    __slots__ = ("default", "depth", "lenient", "packers", "strict")

    def __init__(self, default: Callable[[object], object]) -> None:
        self.default = default
        self.strict: list[Packer] = []
        self.lenient: list[Packer] = []  # for text with lone surrogates, as file names from the system may have
        self.packers = self.strict
        self.depth = 0

    def pack(self, value: object) -> bytes:
        depth = self.depth
        if depth >= len(self.packers):
            self._add_packer()
        self.depth = depth + 1
        try:
            data: bytes = self.packers[depth].pack(value)
        finally:
            self.depth = depth
        if len(data) > _KEPT_BUFFER_BYTES:
            del self.packers[depth:]  # a packer keeps its buffer at its largest
        return data

    def _add_packer(self) -> None:
        if self.depth >= NESTED_MAX:
            message = f"more than {NESTED_MAX} tuples, sets or registered values within each other"
            raise ValueError(message)
        errors = "surrogatepass" if self.packers is self.lenient else None
        self.packers.append(Packer(default=self.default, strict_types=True, unicode_errors=errors))

    def pack_leniently(self, value: object) -> bytes:
        self.packers = self.lenient
        try:
            return self.pack(value)
        finally:
            self.packers = self.strict


class _Reading:
    """The state of one `unpack`: how deep, how much is held, how many containers so far."""

    __slots__ = ("containers", "depth", "held", "is_buffer_free", "limits", "names", "options")

    def __init__(self, names: dict[str, Callable[[Any], object]], limits: Limits) -> None:
        self.names = names
        self.limits = limits
        self.containers = self.depth = self.held = 0
        self.is_buffer_free = True  # no bytearray was read, and nothing that may hold one
        self.options: dict[str, Any] = {"raw": False, "strict_map_key": False, "ext_hook": self.read_extension}

    def count_containers(self) -> None:
        """Count from now on: msgpack tells us of each list and dict as it makes it."""
        self.options["list_hook"] = self.options["object_hook"] = self._count

    def _count(self, value: T) -> T:
        self.containers += 1
        if self.containers > self.limits.containers_max:
            message = f"more than {self.limits.containers_max} lists, dicts and extension values in one message"
            raise _OverLimit(message)
        return value

    def read(self, data: bytes) -> Any:
        size = len(data)
        return unpackb(
            data,
            max_str_len=size,
            max_bin_len=size,
            max_array_len=size,
            max_map_len=size,
            max_ext_len=size,
            **self.options,
        )

    def read_extension(self, tag: int, payload: bytes) -> object:
        if "list_hook" in self.options:
            self._count(None)
        if tag in (BYTEARRAY, REGISTERED):
            self.is_buffer_free = False
        reader = READERS.get(tag)
        if reader is not None:
            return reader(payload)
        if tag not in BUILDERS and tag != REGISTERED:
            message = f"unknown extension tag {tag}"
            raise ValueError(message)
        self.depth += 1
        self.held += len(payload)
        if self.depth > NESTED_MAX or self.held > self.limits.nested_bytes_max:
            message = "extension values too deep in each other"
            raise ValueError(message)
        plain = self.read(payload)
        self.depth -= 1  # no finally: after an error nothing is read any more
        self.held -= len(payload)
        if type(plain) is not list:
            message = f"payload of extension tag {tag} is no array"
            raise ValueError(message)
        return self._registered(plain) if tag == REGISTERED else BUILDERS[tag](plain)

    def read_view(self, tag: int, payload: memoryview) -> object:
        """Read an extension that msgspec found."""
        return self.read_extension(tag, bytes(payload))

    def _registered(self, plain: list[Any]) -> object:
        name, value = plain
        if type(name) is not str or name not in self.names:
            message = f"a value of the class registered as {name!r}, which this process doesn't know; register it"
            raise ValueError(message)
        return self.names[name](value)


class Codec:
    """Packs and unpacks items; holds the classes that the user registered.

    Args:
        limits: What a message may cost unless a call says otherwise (default: `WIRE`).
        fast: Let msgspec read first; by default where it is installed.

    >>> codec = Codec()
    >>> codec.unpack(codec.pack({"point": (1, 2)}))
    {'point': (1, 2)}
    """

    def __init__(self, limits: Limits = WIRE, *, fast: bool = FastReader is not None) -> None:
        self._limits = limits
        self._fast_reader = FastReader if fast else None
        self._writers: dict[type, tuple[int, Callable[[Any], bytes]]] = dict(WRITERS)
        self._writers[tuple] = (CONTAINERS[tuple], lambda value: self._bench().pack(list(value)))
        self._writers[set] = (CONTAINERS[set], self._write_set)
        self._writers[frozenset] = (CONTAINERS[frozenset], self._write_set)
        self._plains: dict[type, Callable[[Any], object]] = {}
        self._names: dict[str, Callable[[Any], object]] = {}
        self._classes: dict[str, type] = {}
        self._local = threading.local()
        self.register(
            BatchEnd,
            "consecution.BatchEnd",
            lambda end: [end.batch, end.completed, end.failed],
            lambda plain: BatchEnd(*plain),
        )

    def register(
        self, cls: type[T], name: str, to_plain: Callable[[T], object], from_plain: Callable[[Any], T]
    ) -> None:
        """Let instances of exactly `cls` travel; every process of the flow must register the same.

        Args:
            cls: The class; its subclasses need a registration of their own.
            name: How it is called on the wire and in journals: keep it when the class moves.
            to_plain: Gives a packable value for an instance.
            from_plain: Gives an equal instance for that value.

        Raises:
            CodecError: The class travels anyway, or the name belongs to another class.
        """
        if cls in NATIVE or cls in WRITERS or cls in CONTAINERS:
            message = f"{cls.__qualname__} travels as it is; register only classes of your own"
            raise CodecError(message)
        taken = self._classes.get(name)
        if taken is not None and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
            message = (
                f"name {name!r} is registered for {taken.__module__}.{taken.__qualname__}; give {cls} another name"
            )
            raise CodecError(message)
        self._classes[name] = cls
        self._names[name] = from_plain
        self._plains[cls] = to_plain
        self._writers[cls] = (REGISTERED, lambda value: self._bench().pack([name, _lower(to_plain(value))]))

    def is_packable_type(self, cls: type) -> bool:
        """Whether values of exactly this type may travel (what containers hold may still not)."""
        return cls in NATIVE or cls in self._writers

    def pack(self, value: object, *, limits: Limits | None = None) -> bytes:
        """Give a value's bytes; equal values of equal types give equal bytes, except for the order of dicts.

        Raises:
            CodecError: Names the path inside the value, and the cure.
        """
        try:
            return self._pack(value, limits or self._limits)
        except user_errors() as error:
            raise self._blame(value, error) from error

    def pack_items(
        self, items: Sequence[object], *, limits: Limits | None = None, is_buffer_free: bool = False
    ) -> bytes:
        """Give a batch's bytes by one call of msgpack.

        Args:
            items: The batch.
            limits: What it may cost.
            is_buffer_free: It is known that no bytearray and no memoryview is in them: nothing is looked for.

        Raises:
            ItemNotPackable: Names the first item that can't travel, with its `index`.
            CodecError: All items together are too large.
        """
        try:
            batch = items if type(items) is list else list(items)
            return self._pack(batch, limits or self._limits, is_buffer_free=is_buffer_free)
        except user_errors() as error:
            for index, part in enumerate(self.pack_each(items, limits=limits)):
                if isinstance(part, CodecError):
                    raise ItemNotPackable(str(part), path=part.path, index=index) from error
            message = f"a batch of {len(items)} items can't be packed: {error}"
            raise CodecError(message) from error

    def try_pack_items(self, items: Sequence[object], *, limits: Limits | None = None) -> bytes | None:
        """Give a batch's bytes, or None at once when some item can't be packed: for who has another way."""
        try:
            return self._pack(items, limits or self._limits)
        except user_errors():  # whatever it is, including user code in to_plain, the caller's other way decides
            return None

    def pack_each(self, items: Sequence[object], *, limits: Limits | None = None) -> list[bytes | CodecError]:
        """Give each item's own bytes or error, in order; `join_items` makes a batch of them."""
        parts: list[bytes | CodecError] = []
        for item in items:
            try:
                parts.append(self.pack(item, limits=limits))
            except CodecError as error:
                parts.append(error)
        return parts

    def unpack(self, data: bytes, *, limits: Limits | None = None) -> Any:
        """Give the value that bytes stand for.

        Raises:
            CodecError: The bytes are not exactly one value, or cost more than the limits allow.
        """
        return self._unpack(data, limits)[0]

    def _unpack(self, data: bytes, limits: Limits | None) -> tuple[Any, _Reading]:
        limits = limits or self._limits
        try:
            if len(data) > limits.bytes_max:
                message = f"{len(data)} bytes, more than {limits.bytes_max}"
                raise ValueError(message)
            reading = _Reading(self._names, limits)
            if _may_hold_too_many(data, limits):
                reading.count_containers()
            elif self._fast_reader is not None:
                try:
                    return self._fast_reader(ext_hook=reading.read_view).decode(data), reading
                except user_errors():  # whatever it is, the reference finds it again, and says what it is
                    reading = _Reading(self._names, limits)
            try:
                return reading.read(data), reading
            except UnicodeDecodeError:
                reading.depth = reading.held = reading.containers = 0
                reading.options["unicode_errors"] = "surrogatepass"
                return reading.read(data), reading
        except user_errors() as error:  # MemoryError, a user's from_plain: bytes must never hurt more
            message = f"bytes that are no packed value: {type(error).__name__}: {error}"
            raise CodecError(message) from error

    def unpack_items(self, data: bytes, *, limits: Limits | None = None) -> list[Any]:
        """Give a batch's items; CodecError as `unpack`, and when the bytes are no batch."""
        return self.read_items(data, limits=limits)[0]

    def read_items(self, data: bytes, *, limits: Limits | None = None) -> tuple[list[Any], bool]:
        """Give a batch's items, and whether surely no bytearray is in them; errors as of `unpack_items`."""
        items, reading = self._unpack(data, limits)
        if type(items) is not list:
            message = f"bytes that are no packed batch: expected an array, got a {type(items).__name__}"
            raise CodecError(message)
        return items, reading.is_buffer_free

    def unpack_one(self, data: bytes, index: int) -> Any:
        """Give one item of a batch that this process packed, without making the others."""
        reading = _Reading(self._names, DISK)
        reading.options["unicode_errors"] = "surrogatepass"  # for what is nested in extensions too
        unpacker = Unpacker(max_buffer_size=len(data), **reading.options)
        unpacker.feed(data)
        count = unpacker.read_array_header()
        if not 0 <= index < count:
            message = f"item {index} of a batch of {count}"
            raise IndexError(message)
        for _ in range(index):
            unpacker.skip()
        return unpacker.unpack()

    def _bench(self) -> _Bench:
        try:
            bench: _Bench = self._local.bench
        except AttributeError:
            bench = self._local.bench = _Bench(self._extend)
        return bench

    def _pack(self, value: object, limits: Limits, *, is_buffer_free: bool = False) -> bytes:
        bench = self._bench()
        try:
            data = bench.pack(value)
        except UnicodeEncodeError:
            data = bench.pack_leniently(value)
        # The bytes may have the head of a bin: msgpack packs bytearray and memoryview as bytes, strict or not.
        may_hold = not is_buffer_free and (b"\xc4" in data or b"\xc5" in data or b"\xc6" in data)
        if may_hold and _holds_buffers(value):
            data = bench.pack_leniently(_lower(value))
        size = len(data)
        if size > limits.bytes_max:
            message = f"packs into {size} bytes; at most {limits.bytes_max} may travel in one piece"
            raise _OverLimit(message)
        if size > CHECKED_BYTES and _may_hold_too_many(data, limits):
            reading = _Reading(self._names, limits)
            reading.count_containers()
            reading.read(data)
        return data

    def _extend(self, value: object) -> object:
        found = self._writers.get(type(value))
        if found is None:
            raise TypeError(type(value).__qualname__)
        tag, write = found
        return ExtType(tag, write(value))

    def _write_set(self, value: set[Any] | frozenset[Any]) -> bytes:
        bench = self._bench()
        return join_items(sorted([bench.pack(element) for element in value]))

    def _blame(self, value: object, error: BaseException) -> CodecError:
        if isinstance(error, _OverLimit):
            return CodecError(f"item can't be packed: {error}; push it in parts")
        path, reason = find_blame(value, "item", self._fits, self._plains, DEPTH_MAX)
        if path == "item" and reason.startswith("is too large"):
            reason = f"can't be packed: {error}"
        return CodecError(f"{path} {reason}", path=path)

    def _fits(self, value: object) -> bool:
        try:
            self._pack(value, DISK)
        except user_errors():  # the question is only whether it can be packed; the reason is found elsewhere
            return False
        return True


def join_items(parts: Sequence[bytes]) -> bytes:
    """Give a batch's bytes from the bytes of its items.

    >>> default_codec.unpack_items(join_items([pack(1), pack("a")]))
    [1, 'a']
    """
    count = len(parts)
    if count < 16:
        head = struct_pack("B", 0x90 | count)
    elif count < 2**16:
        head = struct_pack(">BH", 0xDC, count)
    else:
        head = struct_pack(">BI", 0xDD, count)
    return head + b"".join(parts)


def _may_hold_too_many(data: bytes, limits: Limits) -> bool:
    """Whether counting is worth it: bytes that could begin a container, text and numbers included, exceed the limit."""
    size = len(data)
    if size <= CHECKED_BYTES or size <= limits.containers_max:
        return False
    data = bytes(data)  # a frame may come as a memoryview
    return size - len(data.translate(None, _CONTAINER_HEADS)) > limits.containers_max


_BUFFERS = frozenset({bytearray, memoryview})
_OPEN = frozenset({dict, list, tuple})  # what may hold buffers: the elements of a set are hashable


def _holds_buffers(value: object) -> bool:
    """Whether a bytearray or memoryview lies anywhere in a value that was packed, so that has no cycle."""
    layer: list[Any] = [value]
    kinds = {type(value)}
    while kinds.isdisjoint(_BUFFERS):
        if kinds.isdisjoint(_OPEN):
            return False
        if kinds == {dict}:  # a batch of dicts is the usual case: looked through without making a list of its parts
            inner = set(map(type, chain.from_iterable(map(dict.values, layer))))
            if inner.isdisjoint(_BUFFERS) and inner.isdisjoint(_OPEN):
                return False
        holders = layer if kinds <= _OPEN else [part for part in layer if type(part) in _OPEN]
        layer = list(chain.from_iterable([part.values() if type(part) is dict else part for part in holders]))
        kinds = set(map(type, layer))
    return True


def _lower(value: Any) -> Any:
    """Give a value in which each bytearray is an extension already; TypeError for a memoryview."""
    kind = type(value)
    if kind is bytearray:
        return ExtType(BYTEARRAY, bytes(value))
    if kind is memoryview:
        raise TypeError(kind.__qualname__)
    if kind is dict:
        return {key: _lower(part) for key, part in value.items()}
    if kind is list or kind is tuple:
        return kind([_lower(part) for part in value])
    return value


default_codec = Codec()
register = default_codec.register
pack = default_codec.pack
unpack = default_codec.unpack
pack_items = default_codec.pack_items
unpack_items = default_codec.unpack_items
read_items = default_codec.read_items
