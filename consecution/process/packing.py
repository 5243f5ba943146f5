"""Frames on their way to and from other processes: packed once, items that can't travel taken out.

Rules of this module: an item that can't be packed fails alone (R15), before the frame's id enters any word; so a frame
is packed when it is made, and its bytes wait here until it is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.errors import CapacityError, CodecError
from consecution.executor.frames import Frame
from consecution.wire.codec import ItemNotPackable, pack_items, read_items
from consecution.wire.messages import Data

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.executor.frames import Code


class Packing:
    """Packs the frames of one process."""

    def __init__(self) -> None:
        self._packed: dict[int, bytes] = {}

    def prepare(
        self, frame: Frame, new_id: Callable[[], int]
    ) -> tuple[list[Frame], list[tuple[Code, object, Exception]]]:
        """Pack a frame's items, taking out those that can't travel, in several frames when one would be too large.

        Args:
            frame: Changed: what can't travel isn't in it any more.
            new_id: Gives edge ids, for the further frames.

        Returns:
            The frames to send, and (origin code, item, why) of each item that was taken out.
        """
        bad: list[tuple[Code, object, Exception]] = []
        while frame.items:
            try:
                self._packed[id(frame)] = pack_items(frame.items, is_buffer_free=frame.is_buffer_free)
            except ItemNotPackable as error:
                bad.append(_without(frame, error.index, error))
            except CodecError as error:  # all together are too large
                if len(frame.items) == 1:
                    bad.append(_without(frame, 0, error))
                    continue
                first, second = _halves(frame, new_id)
                frames, also_bad = self.prepare(first, new_id)
                more, bad_too = self.prepare(second, new_id)
                return [*frames, *more], [*bad, *also_bad, *bad_too]
            else:
                return [frame], bad
        return [], bad

    def forget(self, frame: Frame) -> None:
        """Let go of the bytes of a prepared frame that isn't sent."""
        self._packed.pop(id(frame), None)

    def data(self, frame: Frame) -> Data:
        """Give the message that carries a prepared frame."""
        packed = self._packed.pop(id(frame), None)
        if packed is None:
            packed = pack_items(frame.items)
        origins = frame.origins if frame.roots else None  # at level NONE an origin has no root to name: it is refused
        return Data(frame.task, packed, len(frame.items), frame.roots, frame.ids, frame.producers, origins, frame.solo)


def _origins(frame: Frame) -> list[Code]:
    return list(range(len(frame.items))) if frame.origins is None else list(frame.origins)


def _without(frame: Frame, place: int, error: Exception) -> tuple[Code, object, Exception]:
    """Take an item out of a frame; gives its origin code, itself, and why."""
    bad = frame.code(place), frame.items[place], error
    origins = _origins(frame)
    frame.items = [*frame.items[:place], *frame.items[place + 1 :]]
    frame.origins = [*origins[:place], *origins[place + 1 :]]
    return bad


def _halves(frame: Frame, new_id: Callable[[], int]) -> tuple[Frame, Frame]:
    """Cut a frame in two; the second has ids of its own."""
    half = len(frame.items) // 2
    origins = _origins(frame)
    ids = tuple(new_id() for _ in frame.ids)
    return (
        Frame(frame.task, frame.items[:half], frame.roots, frame.ids, frame.producers, origins[:half], frame.solo),
        Frame(frame.task, frame.items[half:], frame.roots, ids, frame.producers, origins[half:], frame.solo),
    )


def frame_of(data: Data) -> Frame:
    """Read the frame that a message carries.

    Raises:
        CodecError: Its items are no items.
    """
    items, is_buffer_free = read_items(data.items)
    if len(items) != data.count:
        message = f"a frame says it has {data.count} items, and has {len(items)}"
        raise CapacityError(message)
    return Frame(data.task, items, data.roots, data.ids, data.producers, data.origins, data.solo, None, is_buffer_free)
