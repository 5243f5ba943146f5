"""The garbage collector while frames are in work.

Rules of this module: it changes a setting of the whole process, for the time of a run, and puts it back.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

YOUNG_OBJECTS = 20_000


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Let the collector look at young objects less often.

    A frame keeps thousands of young items alive on purpose; at Python's default (700) the collector looks at all of
    them several times a frame, which costs 5 to 10 % of a pipeline. A user's own, higher setting is kept.
    """
    young, *older = gc.get_threshold()
    if not 0 < young < YOUNG_OBJECTS:
        yield
        return
    gc.set_threshold(YOUNG_OBJECTS, *older)
    try:
        yield
    finally:
        gc.set_threshold(young, *older)
