"""Columns: the values that wait before a node, and from which items of the frame in work each of them came.

Rules of this module: no user code, no ids; what a *place* is stays here.

A value's place is one of
 - an int: it came from that item of the frame in work;
 - a range or tuple of ints: it came from all of these items (a batch node's answer);
 - a `Held`: it came from items that a holder kept, of this frame or of others.
``places`` of a column is None while value ``i`` came from item ``i``: the common case costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeAlias, overload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consecution.executor.frames import Frame


class InWork:
    """A frame that was taken into work, and how many tokens still keep it open."""

    __slots__ = ("frame", "held", "is_run")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.held = 0
        self.is_run = False

    @property
    def may_close(self) -> bool:
        """Whether nothing of the frame is left to do here (R9)."""
        return self.is_run and self.held == 0


Part: TypeAlias = "tuple[InWork, int | tuple[int, ...]]"


class Held:
    """The place of a value that was made of items which a holder kept: frames with their origin codes."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.parts = parts


class Token:
    """What `Node.hold` gives: keeps an item open until it is pushed ``of`` or released."""

    __slots__ = ("is_open", "node", "parts")

    def __init__(self, node: int, parts: tuple[Part, ...]) -> None:
        self.node = node
        self.parts = parts
        self.is_open = True

    def __repr__(self) -> str:
        """Say whether the item is still open."""
        return f"<token of {'an open' if self.is_open else 'a closed'} item>"


Place: TypeAlias = "int | Sequence[int] | Held"


class Alike(Sequence["Place"]):
    """The places of values that all came from the same items: one place, ``count`` times.

    >>> list(Alike(range(2), 3)), Alike(7, 3)[1:]
    ([range(0, 2), range(0, 2), range(0, 2)], [7, 7])
    """

    __slots__ = ("count_", "place")

    def __init__(self, place: Place, count: int) -> None:
        self.place = place
        self.count_ = count

    def __len__(self) -> int:
        return self.count_

    @overload
    def __getitem__(self, position: int) -> Place: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Place]: ...
    def __getitem__(self, position: int | slice) -> Place | Sequence[Place]:
        if isinstance(position, slice):
            return [self.place] * len(range(self.count_)[position])
        if not -self.count_ <= position < self.count_:
            raise IndexError(position)
        return self.place

    def __iter__(self) -> Iterator[Place]:
        return repeat(self.place, self.count_)


class Column:
    """Values that wait before one node or channel."""

    __slots__ = ("items", "places")

    def __init__(self) -> None:
        self.items: Sequence[Any] = []
        self.places: Sequence[Place] | None = None

    def add(self, items: Sequence[Any], places: Sequence[Place] | None) -> None:
        """Append values; takes over ``items`` when the column is empty."""
        if not self.items:
            self.items, self.places = items, places
            return
        mine = self.places if self.places is not None else list(range(len(self.items)))
        theirs = places if places is not None else list(range(len(items)))
        self.items = [*self.items, *items]
        self.places = [*mine, *theirs]

    def take(self) -> tuple[Sequence[Any], Sequence[Place] | None]:
        """Give what waits, and forget it."""
        items, places = self.items, self.places
        self.items, self.places = [], None
        return items, places


def parts_of(place: Place, work: InWork | None) -> tuple[Part, ...]:
    """The frames, with origin codes, that a value at ``place`` was made of."""
    if isinstance(place, Held):
        return place.parts
    assert work is not None, "a value with a place in a frame needs that frame"
    if isinstance(place, int):
        return ((work, work.frame.code(place)),)
    return tuple((work, work.frame.code(one)) for one in place)


def join_places(places: Iterable[Place], work: InWork | None) -> Place:
    """One place for a value that was made of all of these."""
    if type(places) is Alike and places:
        return places.place
    found = list({id(place): place for place in places}.values())  # many share one: a batch node's answers
    if len(found) == 1:
        return found[0]
    if any(isinstance(place, Held) for place in found):
        return Held(tuple(dict.fromkeys(part for place in found for part in parts_of(place, work))))
    flat: set[int] = set()
    for place in found:
        if isinstance(place, int):
            flat.add(place)
        else:
            assert not isinstance(place, Held)
            flat.update(place)
    return tuple(sorted(flat))


def compose(marks: Sequence[Place], places: Sequence[Place] | None) -> Sequence[Place]:
    """Turn positions in a node's column into places in the frame; a Held stays what it is."""
    if places is None:
        return list(marks)
    if type(places) is Alike and marks and set(map(type, marks)) == {int}:
        return Alike(places.place, len(marks))
    return [places[mark] if isinstance(mark, int) else mark for mark in marks]
