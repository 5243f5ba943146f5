"""Pristine values: what a replay or a branch gets when nodes may edit their items in place.

Rules of this module: pure. A replay must see the item as it was introduced, so the window keeps a `Snapshot` of each
batch; branches must not see each other's edits, so all but one get a `copy_item`. Values of immutable types are never
copied. A copy equals its original; objects that two places of one item shared are two objects in it.
"""

from __future__ import annotations

import copy
import io
import pickle
import sys
from abc import ABC, abstractmethod
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from consecution.errors import UserCodeError, short_repr, user_errors
from consecution.wire.codec import DISK, Codec, default_codec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ATOMS: frozenset[type] = frozenset(
    {type(None), bool, int, float, complex, str, bytes, datetime, date, time, timedelta, Decimal, UUID}
)
"""Types whose values nobody can edit; exactly these types, no subclasses."""

_WRITE_THEMSELVES = ATOMS | {timezone}
_GIVEN = object()
PICKLE_PROTOCOL = 4  # the last one that has no opcode for a bytearray, so that the pickler asks about its class

NESTED_MAX = 50  # plain dicts and lists deeper than this are left to copy.deepcopy, which also knows cycles


class Snapshot(ABC):
    """A batch as it was, from which it can be made again any number of times. Immutable; thread-safe.

    Attributes:
        is_buffer_free: It was seen that no bytearray and no memoryview is in the items.
    """

    __slots__ = ()
    is_buffer_free = False

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes that it takes, roughly: of objects, by the first one."""

    @abstractmethod
    def __len__(self) -> int:
        """How many items there are."""

    @abstractmethod
    def restore(self) -> list[Any]:
        """Give all items anew, in order; the list belongs to the caller."""

    @abstractmethod
    def one(self, index: int) -> Any:
        """Give one item anew; IndexError outside of ``0 <= index < len(self)``."""


class _Kept(Snapshot):
    """Items that nobody can edit: the list alone is copied."""

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[Any]) -> None:
        self._items: Sequence[Any] = items if type(items) is range else tuple(items)

    @property
    def size(self) -> int:
        return _size_of(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def restore(self) -> list[Any]:
        return list(self._items)

    def one(self, index: int) -> Any:
        return self._items[_checked(index, len(self._items))]


class _Plain(Snapshot):
    """Items of built-in types as bytes of this process alone: the cheapest way to keep what may be edited.

    They are made by pickle, and never leave the process (docs/adr/0005). Of many items that are asked for one by one,
    which is what a batch of bad items comes to, all are read at once.
    """

    __slots__ = ("_count", "_data", "_spare")
    is_buffer_free = True

    def __init__(self, data: bytes, count: int) -> None:
        self._data = data
        self._count = count
        self._spare: dict[int, Any] = {}

    @property
    def size(self) -> int:
        return len(self._data)

    def __len__(self) -> int:
        return self._count

    def restore(self) -> list[Any]:
        items: list[Any] = pickle.loads(self._data)
        return items

    def one(self, index: int) -> Any:
        item = self._spare.pop(_checked(index, self._count), _GIVEN)
        if item is _GIVEN:
            spare = dict(enumerate(self.restore()))
            item = spare.pop(index)
            self._spare = spare
        return item


class _Packed(Snapshot):
    """Items as the codec's bytes: cheaper to make than copies, and one object for the garbage collector."""

    __slots__ = ("_codec", "_count", "_data")

    def __init__(self, data: bytes, count: int, codec: Codec) -> None:
        self._data = data
        self._count = count
        self._codec = codec

    @property
    def size(self) -> int:
        return len(self._data)

    def __len__(self) -> int:
        return self._count

    def restore(self) -> list[Any]:
        return self._codec.unpack_items(self._data, limits=DISK)

    def one(self, index: int) -> Any:
        return self._codec.unpack_one(self._data, _checked(index, self._count))


class _Copied(Snapshot):
    """Items of which some can't be packed: copies, copied again for each replay."""

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = [_copy_or_itself(item) for item in items]

    @property
    def size(self) -> int:
        return _size_of(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def restore(self) -> list[Any]:
        return [_copy_or_itself(item) for item in self._items]

    def one(self, index: int) -> Any:
        return _copy_or_itself(self._items[_checked(index, len(self._items))])


def _size_of(items: Sequence[Any]) -> int:
    return len(items) * sys.getsizeof(items[0]) if items else 0


def snapshot(items: Sequence[Any], codec: Codec = default_codec) -> Snapshot:
    """Keep a batch as it is now.

    Immutable items are kept as they are. Other items are kept as bytes where they are of built-in types all through, or
    the codec can pack them; where it can't, each item is copied by `copy.deepcopy`, and what can't be copied either (a
    lock, an open file) stays the object itself: its replay gets what the nodes made of it.

    Args:
        items: The batch; it may be changed afterwards.
        codec: Knows the user's registered classes.

    >>> rows = [{"n": 1}]
    >>> kept = snapshot(rows)
    >>> rows[0]["n"] = 2
    >>> kept.restore(), kept.one(0)
    ([{'n': 1}], {'n': 1})
    """
    kinds = set(map(type, items))
    if kinds <= ATOMS:
        return _Kept(items)
    if all(map(codec.is_packable_type, kinds)):
        plain = _plain_bytes(items)
        if plain is not None:
            return _Plain(plain, len(items))
        data = codec.try_pack_items(items, limits=DISK)
        if data is not None:
            return _Packed(data, len(items), codec)
    return _Copied(items)


class _PlainPickler(pickle.Pickler):
    """Writes built-in containers and atoms; whatever else is in them is refused, so that no code of a user's runs.

    A bytearray is refused too (see `PICKLE_PROTOCOL`): that none is there is worth knowing when items are packed.
    """

    def reducer_override(self, value: object) -> Any:
        """Let atoms write themselves; called for all that pickle has no opcode for."""
        kind = type(value)
        if kind in _WRITE_THEMSELVES or (kind is type and value in _WRITE_THEMSELVES):
            return NotImplemented
        message = f"a {kind.__qualname__} is no plain value"
        raise pickle.PicklingError(message)


def _plain_bytes(items: Sequence[Any]) -> bytes | None:
    """Give the bytes of items of built-in types; None when something else is in them, or a cycle."""
    buffer = io.BytesIO()
    pickler = _PlainPickler(buffer, PICKLE_PROTOCOL)
    pickler.fast = True  # remembers nothing: what two items share is two objects, as everywhere here
    try:
        pickler.dump(items)
    except (pickle.PicklingError, ValueError, RecursionError):
        return None
    return buffer.getvalue()


def keep(items: Sequence[Any]) -> Snapshot:
    """Keep a batch whose items nobody can edit, without a look at them."""
    return _Kept(items)


def copy_items(items: Sequence[Any], fail: Callable[[int, BaseException], None]) -> tuple[list[Any], list[int]]:
    """Give copies of items, as `copy_item` makes them, and their positions.

    Args:
        items: Left as they are.
        fail: ``fail(position, error)`` for an item that can't be copied; it is left out.
    """
    copies: list[Any] = []
    positions: list[int] = []
    for position, item in enumerate(items):
        try:
            copies.append(copy_item(item))
        except user_errors() as error:  # a user's __deepcopy__ is user code
            fail(position, error)
        else:
            positions.append(position)
    return copies, positions


def copy_item(item: Any) -> Any:
    """Give an item that another branch may edit without anybody seeing it.

    Immutable values are given as they are, plain dicts and lists are copied fast, all else by `copy.deepcopy`.

    Raises:
        UserCodeError: The item can't be copied; names what can't, and the cures.

    >>> row = {"tags": ["a"]}
    >>> copy_item(row)["tags"].append("b")
    >>> row
    {'tags': ['a']}
    """
    if type(item) in ATOMS:
        return item
    try:
        return _copy(item, NESTED_MAX)
    except user_errors() as error:  # __deepcopy__ and __reduce__ are user code
        message = (
            f"an item that goes to several branches can't be copied: {type(error).__name__}: {error}; "
            "expected plain values, or a class that copy.deepcopy can copy; push plain values, give the class a "
            "__deepcopy__, or open such things in setup()"
        )
        raise UserCodeError(message, item=short_repr(item)) from error


def _copy(item: Any, depth_left: int) -> Any:
    kind = type(item)
    if kind in ATOMS:
        return item
    if depth_left:
        if kind is dict:
            if ATOMS.issuperset(map(type, item.values())):
                return item.copy()  # keys are hashable, so they are as good as immutable
            return {key: _copy(value, depth_left - 1) for key, value in item.items()}
        if kind is list:
            if ATOMS.issuperset(map(type, item)):
                return item.copy()
            return [_copy(value, depth_left - 1) for value in item]
        if kind is tuple and ATOMS.issuperset(map(type, item)):
            return item
    return copy.deepcopy(item)


def _copy_or_itself(item: Any) -> Any:
    try:
        return copy.deepcopy(item)
    except user_errors():  # __deepcopy__ and __reduce__ are user code; `snapshot` says what its replay gets
        return item


def _checked(index: int, count: int) -> int:
    if not 0 <= index < count:
        message = f"item {index} of a batch of {count}"
        raise IndexError(message)
    return index
