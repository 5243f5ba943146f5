"""The origin codes of all items of a frame together, with next to no work for each.

Rules of this module: pure. Codes are a range while items stand in their order, 16-bit words (``array("H")``) when they
fit, as those of one root do, and else a list. All are read only: frames share them.
"""

from __future__ import annotations

import sys
from array import array
from itertools import compress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consecution.executor.frames import Code

WORDS_MAX = 1 << 16


def chosen_places(places: Sequence[Any], chosen: bytes) -> Sequence[Any]:
    """Give the places where ``chosen`` isn't 0; as words when they fit.

    >>> chosen_places([3, 3, 5], bytes([1, 0, 1])), chosen_places([range(2), 7], bytes([1, 1]))
    (array('H', [3, 5]), [range(0, 2), 7])
    """
    try:
        return array("H", compress(places, chosen))
    except (TypeError, OverflowError):
        return list(compress(places, chosen))


def simple_codes(places: Sequence[Any]) -> Sequence[int] | None:
    """Give places that are of one item each as codes; None when some aren't.

    >>> simple_codes([0, 2]), simple_codes([0, 1 << 20]), simple_codes([0, range(2)])
    (array('H', [0, 2]), [0, 1048576], None)
    """
    if type(places) is range or type(places) is array:
        return places
    try:
        return array("H", places)
    except TypeError:
        return None
    except OverflowError:
        return list(places) if set(map(type, places)) <= {int} else None


def codes_through(places: Sequence[int], origins: Sequence[Code]) -> Sequence[Code]:
    """Give the codes of values that were made of the items at ``places`` of a frame with these origins.

    >>> codes_through(array("H", [0, 0, 2]), range(40, 50)), codes_through([1, 0], [7, 9])
    (array('H', [40, 40, 42]), [9, 7])
    """
    if type(origins) is range and type(places) is array and places.typecode == "H" and origins.stop <= WORDS_MAX:
        return _raised(places, origins.start)
    if type(origins) is array and origins.typecode == "H":
        return array("H", map(origins.__getitem__, places))
    return list(map(origins.__getitem__, places))


def _raised(words: array[int], by: int) -> array[int]:
    """Add a number to all words, as one addition of two long numbers: no word flows over into the next.

    >>> _raised(array("H", [0, 1, 500]), 7)
    array('H', [7, 8, 507])
    """
    if not by or not words:
        return words
    size = len(words) * words.itemsize
    ones = int.from_bytes(array("H", [by]).tobytes() * len(words), sys.byteorder)
    both = int.from_bytes(words.tobytes(), sys.byteorder) + ones
    return array("H", both.to_bytes(size, sys.byteorder))
