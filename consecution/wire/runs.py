"""Run-length packing of origins and indexes (R8): short where items stand in order, cheap where they don't.

Rules of this module: pure; plain data in and out, ready for MessagePack. A *run* is a pair (start, length): a positive
length counts up by one, a negative one repeats ``start``. What unpacks is bounded before it is unpacked, because a
few bytes can name billions.
"""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any, TypeAlias

from consecution.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Code: TypeAlias = "int | tuple[int, ...]"

ORIGINS_MAX = 1 << 20
"""Most origins that one frame may name, all items together."""

_SAMPLE = 32
_RUNS_OF_SAMPLE_MAX = 4  # more runs than this in a sample: words are made ten times as fast
_RANGE, _RUNS, _PLAIN = 0, 1, 2
_WORDS = {3: "H", 4: "I", 5: "Q"}  # forms of so many bytes for each item, and what `array` calls them
_FORMS = {words: form for form, words in _WORDS.items()}


def pack_runs(values: Sequence[Any]) -> list[Any]:
    """Pack values as a flat list: the start and the length of each run.

    A tuple among the values becomes a list of its own runs.

    >>> pack_runs([4, 5, 6, 9, 9, 1])
    [4, 3, 9, -2, 1, 1]
    """
    runs: list[Any] = []
    place, end = 0, len(values)
    while place < end:
        start = values[place]
        after = place + 1
        if after < end and values[after] == start:
            while after < end and values[after] == start:
                after += 1
            length = place - after
        else:
            if not isinstance(start, tuple):
                while after < end and values[after] == start + (after - place):
                    after += 1
            length = after - place
        runs += (pack_runs(start) if isinstance(start, tuple) else start, length)
        place = after
    return runs


def unpack_runs(runs: Sequence[Any], values_max: int = ORIGINS_MAX) -> list[int]:
    """Give the values of runs that hold only numbers.

    Raises:
        ProtocolError: They are not runs of numbers from 0 to 2**64 - 1, or are more than ``values_max``.

    >>> unpack_runs([4, 3, 9, -2, 1, 1])
    [4, 5, 6, 9, 9, 1]
    """
    values: list[int] = []
    for start, length in _pairs(runs):
        if type(start) is not int or start < 0:
            msg = f"a run starts with {start!r:.40}; expected a number from 0"
            raise ProtocolError(msg)
        _check_room(len(values) + abs(length), values_max)
        values += [start] * -length if length < 0 else range(start, start + length)
    return values


def pack_origins(origins: Sequence[Code] | None) -> Any:
    """Pack the origins of a frame's items: None, or a form and what it needs."""
    if origins is None or not origins:
        return None if origins is None else (_PLAIN, ())
    first, count = origins[0], len(origins)
    if type(first) is int and origins[-1] == first + count - 1 and _counts_up(origins):
        return (_RANGE, first, count)
    if type(origins) is array and count > _SAMPLE:
        return (_FORMS[origins.typecode], _swapped(origins[:]).tobytes())
    if len(pack_runs(origins[:_SAMPLE])) <= 2 * _RUNS_OF_SAMPLE_MAX:
        return (_RUNS, pack_runs(origins))
    for form, words in _WORDS.items():
        try:
            return (form, _swapped(array(words, origins)).tobytes())  # type: ignore[arg-type]
        except (TypeError, OverflowError):  # an item of several origins, or a number too large: the next one can
            continue
    return (_RUNS, pack_runs(origins)) if isinstance(first, tuple) else (_PLAIN, origins)


def unpack_origins(packed: Any, count: int, roots: int) -> Sequence[Code] | None:
    """Give the origins that ``pack_origins`` packed.

    Args:
        packed: What came, decoded from MessagePack with tuples for arrays.
        count: Items in the frame.
        roots: Roots in the frame's table.

    Raises:
        ProtocolError: Not of a known form, not one for each item, too many, or of a root that isn't in the table.
    """
    if packed is None:
        return None
    if type(packed) is not tuple or len(packed) not in (2, 3):
        msg = "origins are of no known form"
        raise ProtocolError(msg)
    if packed[0] == _RANGE and len(packed) == 3 and type(packed[1]) is int and packed[2] == count and packed[1] >= 0:
        _check_room(count, ORIGINS_MAX)
        origins: Sequence[Code] = range(packed[1], packed[1] + count)
        highest = packed[1] + count - 1
    elif packed[0] == _RUNS and len(packed) == 2:
        origins, highest = _unpack_mixed(packed[1])
    elif packed[0] == _PLAIN and len(packed) == 2 and type(packed[1]) is tuple:
        origins, highest = list(packed[1]), _highest(packed[1])
    elif packed[0] in _WORDS and len(packed) == 2 and type(packed[1]) is bytes:
        origins, highest = _unpack_words(packed[1], _WORDS[packed[0]], count)
    else:
        msg = "origins are of no known form"
        raise ProtocolError(msg)
    if len(origins) != count:
        msg = f"a frame of {count} items names origins of {len(origins)}"
        raise ProtocolError(msg)
    if highest >> 32 >= roots and origins:
        msg = f"an origin names root {highest >> 32} of a table of {roots}"
        raise ProtocolError(msg)
    return origins


def _swapped(words: array[int]) -> array[int]:
    if sys.byteorder == "big":
        words.byteswap()  # the lowest byte first, on every machine
    return words


def _counts_up(origins: Sequence[Any]) -> bool:
    first = origins[0]
    return type(origins) is range or list(origins) == list(range(first, first + len(origins)))


def _unpack_words(packed: bytes, form: str, count: int) -> tuple[Sequence[int], int]:
    """Give the words as they came, and a bound of them."""
    words = array(form)
    if len(packed) != count * words.itemsize:
        msg = f"{len(packed)} bytes are not the origins of {count} items"
        raise ProtocolError(msg)
    _check_room(count, ORIGINS_MAX)
    words.frombytes(packed)
    words = _swapped(words)
    return words, max(words, default=0) if form == "Q" else 0  # of the shorter ones none names a root but the first


def _pairs(runs: Any) -> Iterable[tuple[Any, int]]:
    if not isinstance(runs, (list, tuple)) or len(runs) % 2:
        msg = "runs are not a list of pairs"
        raise ProtocolError(msg)
    for place in range(0, len(runs), 2):
        length = runs[place + 1]
        if type(length) is not int or length == 0:
            msg = f"a run has the length {length!r:.40}"
            raise ProtocolError(msg)
        yield runs[place], length


def _check_room(values: int, values_max: int) -> None:
    if values > values_max:
        msg = f"runs of {values} values; at most {values_max} are taken"
        raise ProtocolError(msg)


def _unpack_mixed(runs: Any) -> tuple[list[Code], int]:
    """Runs whose starts are numbers or, for items made of several, runs themselves."""
    origins: list[Code] = []
    named, highest = 0, 0
    for start, length in _pairs(runs):
        named += abs(length)
        _check_room(named, ORIGINS_MAX)
        if type(start) is tuple:
            union = tuple(unpack_runs(start, ORIGINS_MAX - named))
            named += len(union)
            if length not in (1, -abs(length)):
                msg = "origins of an item made of several can be repeated, not counted up"
                raise ProtocolError(msg)
            origins += [union] * abs(length)
            highest = max(highest, *union) if union else highest
        elif type(start) is int and start >= 0:
            origins += [start] * -length if length < 0 else range(start, start + length)
            highest = max(highest, start if length < 0 else start + length - 1)
        else:
            msg = f"an origin is {start!r:.40}; expected a number from 0"
            raise ProtocolError(msg)
    return origins, highest


def _highest(origins: tuple[Any, ...]) -> int:
    _check_room(len(origins), ORIGINS_MAX)
    if set(map(type, origins)) <= {int}:
        if origins and min(origins) < 0:
            msg = "an origin is negative"
            raise ProtocolError(msg)
        return max(origins, default=0)
    highest, named = 0, len(origins)
    for origin in origins:
        codes = origin if type(origin) is tuple else (origin,)
        named += len(codes)
        _check_room(named, ORIGINS_MAX)
        if not set(map(type, codes)) <= {int} or (codes and min(codes) < 0):
            msg = "an origin is neither a number from 0 nor several of them"
            raise ProtocolError(msg)
        highest = max(highest, *codes) if codes else highest
    return highest
