"""From the values of a channel to frames: which task each value goes to, under which ids.

Rules of this module: no user code but key functions; edge ids come from the caller. For each channel of a task there
is one `Outlet`; it keeps the round robin state of that task.

R8: a frame carries, for each root that it descends from, one edge id, and for each item its origins.
R9: the id of each frame goes into the running word before the frames that it was made of are closed.
"""

from __future__ import annotations

from array import array
from functools import cache
from itertools import compress
from operator import countOf
from typing import TYPE_CHECKING, Any, TypeAlias
from zlib import crc32

from consecution.errors import UserCodeError, short_repr, user_errors
from consecution.executor.codes import chosen_places, codes_through, simple_codes
from consecution.executor.columns import Held, parts_of
from consecution.executor.frames import INDEX_BITS, INDEX_MASK, Frame
from consecution.plan.partitions import PARTITIONS, dealt
from consecution.plan.stages import ALL, GLOBAL, KEY, LOCAL, PARTIAL_KEY
from consecution.values import copy_items
from consecution.wire.codec import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.executor.columns import InWork, Place
    from consecution.executor.frames import Code

Shares: TypeAlias = "list[tuple[int, Sequence[Any], Sequence[Place] | None]]"

KEYS_CACHED_MAX = 65_536
NOBODY = 255  # as a place among the tasks that own partitions, which are 64 at most
CACHED_KINDS = frozenset({str, int, bytes, bool})  # of others, equal ones can pack differently: 0.0 and -0.0


def partition_of(key: object) -> int:
    """The fixed partition, 0 to 63, of a key: crc32 of its packed form, the same in every process.

    >>> partition_of("word") == partition_of("word")
    True
    """
    return crc32(pack(key)) % PARTITIONS


class _OwnersOfKeys(dict[Any, int]):
    """The owners of keys of one type, as far as they have been asked for. Bounded.

    Args:
        owners: The owner of each partition.
    """

    def __init__(self, owners: Sequence[int]) -> None:
        super().__init__()
        self._owners = owners

    def __missing__(self, key: object) -> int:
        if len(self) >= KEYS_CACHED_MAX:
            self.clear()
        owner = self[key] = self._owners[partition_of(key)]
        return owner


@cache
def _only(place: int) -> bytes:
    """A table for ``bytes.translate`` that gives 1 for a place and 0 for all others."""
    return bytes(place == other for other in range(256))


def key_getter(key: object) -> Callable[[Any], Any]:
    """What reads the key of an item: a function is taken as it is, else a field's name or an index."""
    if callable(key):
        return key
    return lambda item: item[key]


class Outlet:
    """Sends the values of one channel to the tasks of the stage that it enters.

    Args:
        grouping: One of the six names of the plan.
        tasks: Tasks of the stage that the channel enters.
        copy: Which copy of its own stage this task is, for LOCAL.
        key: The node's key, for KEY and PARTIAL_KEY.
        node: Name of the node that it enters, for errors.
        node_place: That node's place in the Dag.
        owners: The task that owns each of the 64 partitions; None: they are dealt in turn.
    """

    def __init__(
        self,
        grouping: str,
        tasks: Sequence[int],
        *,
        copy: int,
        key: object,
        node: str,
        node_place: int,
        owners: Sequence[int] | None = None,
    ) -> None:
        self.node_place = node_place
        self._node = node
        self._key = key_getter(key)
        self._turn = copy
        self.retask(grouping, tasks, copy=copy, owners=owners)

    def retask(self, grouping: str, tasks: Sequence[int], *, copy: int, owners: Sequence[int] | None = None) -> None:
        """Deal to other tasks from now on; arguments as at the beginning."""
        self.tasks = tuple(tasks)
        self._grouping = grouping if len(self.tasks) > 1 else GLOBAL
        self._copy = copy
        of_partitions = dealt(self.tasks) if owners is None else owners
        self._owning = tuple(task for task in self.tasks if task in of_partitions)
        self._sent = [0] * len(self._owning)
        places = {task: place for place, task in enumerate(self._owning)}
        self._owners = [places[task] for task in of_partitions]
        self._owner_of = {kind: _OwnersOfKeys(self._owners) for kind in CACHED_KINDS}

    def share(
        self, items: Sequence[Any], places: Sequence[Place] | None, fail: Callable[[int, BaseException], None]
    ) -> Shares:
        """Deal values to tasks.

        Args:
            items: The values, in order.
            places: Their places, or None while they are the frame's own.
            fail: Called as ``fail(position, error)`` for a value whose key can't be had.

        Returns:
            List of (task, values, places), in order of task.
        """
        if self._grouping == GLOBAL:
            return [(self.tasks[0], items, places)]
        if self._grouping == LOCAL:
            return [(self.tasks[self._copy % len(self.tasks)], items, places)]
        if self._grouping == ALL:
            return [*self._copies(items, places, fail), (self.tasks[-1], items, places)]
        if self._grouping in (KEY, PARTIAL_KEY):
            return self._by_key(items, places, fail)
        return self._shuffled(items, places)

    def _copies(
        self, items: Sequence[Any], places: Sequence[Place] | None, fail: Callable[[int, BaseException], None]
    ) -> Shares:
        """Copies for all tasks but the last, so that tasks never see each other's edits."""
        shares: Shares = []
        for task in self.tasks[:-1]:
            copies, kept = copy_items(items, fail)
            if len(kept) == len(items):
                shares.append((task, copies, places))
            else:
                shares.append((task, copies, kept if places is None else [places[position] for position in kept]))
        return shares

    def _shuffled(self, items: Sequence[Any], places: Sequence[Place] | None) -> Shares:
        """Cut the values into equal slices, one for each task, and begin with another task each time."""
        count = len(self.tasks)
        size = -(-len(items) // count)
        shares: Shares = []
        for start in range(0, len(items), size):
            task = self.tasks[self._turn % count]
            self._turn += 1
            stop = min(start + size, len(items))
            part: Sequence[Place] = range(start, stop) if places is None else places[start:stop]
            shares.append((task, items[start:stop], part))
        return shares

    def _by_key(
        self, items: Sequence[Any], places: Sequence[Place] | None, fail: Callable[[int, BaseException], None]
    ) -> Shares:
        owners = self._owners_at_once(items) if self._grouping == KEY else None
        if owners is None:
            owners = self._owners_one_by_one(items, fail)
        shares: Shares = []
        where: Sequence[Place] = range(len(items)) if places is None else places
        for n, task in enumerate(self._owning):
            chosen = owners.translate(_only(n))
            mine = list(compress(items, chosen))
            if mine:
                shares.append((task, mine, chosen_places(where, chosen)))
        return shares

    def _owners_at_once(self, items: Sequence[Any]) -> bytes | None:
        """The place of the owner of each value; None when the keys aren't all of one kind that is remembered."""
        try:
            if self._key is str and countOf(map(type, items), str) == len(items):  # their own keys
                return bytes(map(self._owner_of[str].__getitem__, items))
            keys = list(map(self._key, items))
            kinds = set(map(type, keys))
            if len(kinds) != 1 or not kinds <= CACHED_KINDS:
                return None
            return bytes(map(self._owner_of[kinds.pop()].__getitem__, keys))
        except user_errors():  # the key function is user code: one by one it is seen whose fault it is
            return None

    def _owners_one_by_one(self, items: Sequence[Any], fail: Callable[[int, BaseException], None]) -> bytes:
        """As `_owners_at_once`; `NOBODY` for a value whose key can't be had, which is told to ``fail``."""
        owners = bytearray()
        for position, item in enumerate(items):
            try:
                owners.append(self._owner(self._key(item)))
            except user_errors() as error:  # an unhashable key is the item's fault
                fail(position, self._no_key(item, error))
                owners.append(NOBODY)
        return bytes(owners)

    def _owner(self, key: object) -> int:
        """The place of the task that owns a key. PARTIAL_KEY: of two that was sent less (Nasir et al., 2015)."""
        if self._grouping == KEY:
            known = self._owner_of.get(type(key))
            return self._owners[partition_of(key)] if known is None else known[key]
        packed = pack(key)
        first = self._owners[crc32(packed) % PARTITIONS]
        second = self._owners[crc32(packed, 0x9E3779B9) % PARTITIONS]
        chosen = first if self._sent[first] <= self._sent[second] else second
        self._sent[chosen] += 1
        return chosen

    def _no_key(self, item: object, error: BaseException) -> UserCodeError:
        message = (
            f"the key of an item for node {self._node!r} can't be had: {type(error).__name__}: {error}; "
            f"the item was {short_repr(item)}; a key must be a plain value"
        )
        return UserCodeError(message, node=self._node, item=short_repr(item))


def frame_of(
    task: int, items: Sequence[Any], places: Sequence[Place] | None, work: InWork | None, new_id: Callable[[], int]
) -> Frame:
    """Make the frame that carries ``items`` to ``task``.

    Args:
        task: Its target.
        items: The values.
        places: Their places; None when value i is item i of the frame in work.
        work: The frame in work; None when all places are of held items.
        new_id: Gives a fresh edge id.

    Returns:
        A frame with one id for each root, not yet in any running word.
    """
    parent = None if work is None else work.frame
    if parent is not None and not parent.roots and not _has_held(places):
        return Frame(task, items, solo=parent.solo)
    if places is None and parent is not None:
        ids = tuple(new_id() for _ in parent.roots)
        return Frame(task, items, parent.roots, ids, parent.producers, parent.origins, parent.solo)
    if parent is not None and len(parent.roots) == 1 and (codes := simple_codes(places or ())) is not None:
        origins = codes if parent.origins is None else codes_through(codes, parent.origins)
        return Frame(task, items, parent.roots, (new_id(),), parent.producers, origins, parent.solo)
    return _joined(task, items, places or [], work, new_id)


def _has_held(places: Sequence[Place] | None) -> bool:
    return places is not None and type(places) not in (array, range) and Held in set(map(type, places))


def _joined(
    task: int, items: Sequence[Any], places: Sequence[Place], work: InWork | None, new_id: Callable[[], int]
) -> Frame:
    """A frame whose items were made of items of several roots, or of several items each."""
    table: dict[int, int] = {}
    producers: list[int] = []
    origins: list[Code] = []
    seen: dict[int, Code] = {}
    for place in places:
        code = seen.get(id(place))
        if code is None:
            codes: set[int] = set()
            for part_work, part_code in parts_of(place, work):
                frame = part_work.frame
                if not frame.roots:
                    continue
                for one in part_code if isinstance(part_code, tuple) else (part_code,):
                    number = one >> INDEX_BITS
                    root = frame.roots[number]
                    if root not in table:
                        table[root] = len(table)
                        producers.append(frame.producers[number])
                    codes.add(table[root] << INDEX_BITS | one & INDEX_MASK)
            code = tuple(sorted(codes)) if len(codes) != 1 else codes.pop()
            seen[id(place)] = code
        origins.append(code)
    solo = work is not None and work.frame.solo
    ids = tuple(new_id() for _ in table)
    return Frame(task, items, tuple(table), ids, tuple(producers), origins, solo)
