"""Following a file that grows and is rotated, like ``tail -F``, without losing a line.

Rules of this module:
1. A position is [generation, byte offset]; the generation counts the contents read one after the other. The first
   line of a content has the end of the content before it as its position.
2. Rotation by rename and create: the old file is read to its end, and on for ``rotation_grace_s`` after the new one was
   seen, because writers keep the old one open for a while; then files rotated in between, then the new one.
3. Rotation by copy and truncate: the rest is read from the copy, which is found by the CRC of the bytes before it. What
   a writer adds between the copy and the truncation is in neither file: that no reader can give.
4. A line without an end waits for its end; in a file that was rotated away it is the last item.
5. The check is [device, inode, offset, CRC] of the 4 KiB before the position; in a content that is gone, before the
   end of the last read (64 KiB at most) at or below the position; at the start of a content, before the end of the
   first read: nothing lies before the position, and what follows it tells the content from a later one.
"""

from __future__ import annotations

import logging
import os
import zlib
from typing import TYPE_CHECKING, Any

from consecution.errors import SourceError, short_repr
from consecution.producers.anchors import Anchors
from consecution.producers.files import CHECK_BYTES, crc_before, parse_check, pread_all
from consecution.producers.lines import LineFeed
from consecution.producers.rotation import Known, find, following, is_followed, opened, status_of

if TYPE_CHECKING:
    from consecution.clock import Clock
    from consecution.producers.lines import TextLines

CHUNK_BYTES = 1 << 16
POLL_S = 0.1

log = logging.getLogger(__name__)


class Content:
    """One file's content as far as it was read; ``before`` holds the last bytes read, at most 4 KiB.

    Args:
        fd: Owned.
        offset: Where to go on.
    """

    def __init__(self, fd: int, generation: int, offset: int, feed: LineFeed) -> None:
        self.fd = fd
        self.generation = generation
        self.offset = offset
        self.feed = feed
        self.is_over = False  # no more bytes come; the feed may still hold lines
        self.entered_from: tuple[int, int] | None = None  # position of the end of the content before
        self.after: os.stat_result | None = None  # status of the file of the content before
        self.is_cut_here = False  # truncated in place without a copy: what follows is the same file from its start
        self.status = os.fstat(fd)
        first = max(0, offset - CHECK_BYTES)
        self.before = pread_all(fd, offset - first, first)
        self.anchors = Anchors()
        self.anchors.keep(offset, zlib.crc32(self.before))

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode."""
        return self.status.st_dev, self.status.st_ino

    @property
    def known(self) -> Known:
        """What is known of the bytes read."""
        return Known(*self.key, self.offset, zlib.crc32(self.before))

    def pull(self) -> bool:
        """Read the next bytes into the feed; False when there are none, or when they are of another content."""
        if self.feed.is_stuck:
            return False
        data = os.pread(self.fd, CHUNK_BYTES, self.offset)
        if not data or self.is_cut():
            return False
        (self.feed.feed if self.offset else self.feed.begin)(data)
        self.offset += len(data)
        self.before = (self.before + data)[-CHECK_BYTES:]
        self.anchors.keep(self.offset, zlib.crc32(self.before))
        return True

    def move_to(self, fd: int) -> None:
        """Go on in a copy of the same content."""
        os.close(self.fd)
        self.fd = fd
        self.status = os.fstat(fd)

    def is_cut(self) -> bool:
        """True when the file was truncated, also when it has grown beyond our offset since."""
        return pread_all(self.fd, len(self.before), self.offset - len(self.before)) != self.before


class TailReader:
    """Reads the lines of ``path`` for ever; waits for it when it isn't there yet."""

    def __init__(
        self,
        path: str,
        label: str,
        text: TextLines,
        line_bytes_max: int,
        *,
        rotation_grace_s: float,
        clock: Clock,
    ) -> None:
        self._path = path
        self._label = label
        self._text = text
        self._line_bytes_max = line_bytes_max
        self._rotation_grace_s = rotation_grace_s
        self._clock = clock
        self._content: Content | None = None
        self._next: tuple[int, int] = (0, 0)  # position of the next item
        self._checks: dict[int, tuple[tuple[int, int], Anchors]] = {}
        self._rotated_at: float | None = None

    def open(self, position: object | None, check: object | None) -> None:
        """Go on at ``position`` in the file of ``check``, wherever it is now.

        Raises:
            SourceError: That file is gone, or was changed below the position.
        """
        if position is None:
            return
        if not (
            isinstance(position, (list, tuple)) and len(position) == 2 and all(isinstance(at, int) for at in position)
        ):
            msg = f"{self._label}: the journal's position is {short_repr(position)}, expected [generation, offset]"
            raise SourceError(msg + "; the journal is of a file read without follow=True: start anew with --fresh")
        generation, offset = position
        known = parse_check(check, self._label)
        self._next = (generation, offset)
        if known is None:
            # Nothing had been read, or not even found: the file that is there now is the first.
            if offset == 0:
                return
            found = opened(self._path)
            if found is not None and os.fstat(found).st_size < offset:
                os.close(found)
                found = None
        else:
            found = find(self._path, Known(*known), offset)
        if found is None:
            msg = (
                f"{self._label}: the file that was read up to byte {offset} is neither there nor among its rotated"
                " files (removed, compressed, or changed below that byte?); nothing was read: put it back,"
                " uncompressed, or start anew with --fresh"
            )
            raise SourceError(msg)
        self._begin(found, generation, offset)

    def read(self, items_max: int, wait_s: float) -> tuple[list[Any], list[tuple[int, int]], tuple[int, int], bool]:
        """Give items, their positions and the next position; it never ends."""
        deadline = self._clock.monotonic() + wait_s
        while True:
            content = self._pull(items_max)
            if content is not None and len(content.feed):
                items, offsets = content.feed.take(items_max)
                positions = [(content.generation, offset) for offset in offsets]
                if positions and content.entered_from is not None:
                    # The file before it is what finds this content after it was copied away and truncated.
                    positions[0], content.entered_from = content.entered_from, None
                self._next = (content.generation, min(content.feed.offset, content.offset))
                return items, positions, self._next, False
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return [], [], self._next, False
            self._clock.sleep(min(POLL_S, left))

    def check(self, position: object) -> object | None:
        """Give what identifies the content below ``position``; contents before it are forgotten."""
        assert isinstance(position, (list, tuple))
        generation, offset = position
        for older in [known for known in self._checks if known < generation]:
            del self._checks[older]
        if generation not in self._checks:
            return None
        key, anchors = self._checks[generation]
        content = self._content
        if offset == 0 and (anchor := anchors.above(0)) is not None:
            return [*key, *anchor]
        if content is not None and content.generation == generation and offset <= content.offset:
            crc = crc_before(content.fd, offset)
            if not content.is_cut():  # asked after the bytes were read: they are those of this content
                return [*content.key, offset, crc]
        anchor = anchors.below(offset + 1)
        return None if anchor is None else [*key, *anchor]

    def fileno(self) -> int | None:
        """No descriptor tells that a file has grown."""
        return None

    def ready_in(self) -> float | None:
        """Give when to look again."""
        return 0.0 if self._content is not None and len(self._content.feed) else POLL_S

    def close(self) -> None:
        """Close the file."""
        if self._content is not None:
            os.close(self._content.fd)
            self._content = None

    def _begin(self, fd: int, generation: int, offset: int) -> Content:
        """Make ``fd`` the content that is read; the one before is closed."""
        self.close()
        self._content = Content(fd, generation, offset, LineFeed(self._text, self._line_bytes_max, self._label, offset))
        self._checks[generation] = (self._content.key, self._content.anchors)
        self._rotated_at = None
        return self._content

    def _pull(self, items_max: int) -> Content | None:
        """Fill the feed, going on to the next content when one is over; None while there is no file."""
        while True:
            content = self._content or self._first()
            if content is None:
                return None
            while len(content.feed) < items_max and not content.is_over and content.pull():
                if self._is_superseded(content):
                    break
            if content is not self._content:
                continue
            if len(content.feed):
                return content
            if not content.is_over:
                if not self._notice_end(content):
                    return content
            elif not self._go_on(content):
                return content

    def _first(self) -> Content | None:
        fd = opened(self._path)
        return None if fd is None else self._begin(fd, self._next[0], 0)

    def _notice_end(self, content: Content) -> bool:
        """See whether the content that has no more bytes now will get none at all; True when anything changed."""
        if content.is_cut():
            copy = find(self._path, content.known, content.offset)
            if copy is not None:
                content.move_to(copy)
                self._checks[content.generation] = (content.key, content.anchors)
                return True
            log.warning(
                "%s was truncated at offset=%d and no copy of it is there; lines written since the last read are lost",
                self._label,
                content.offset,
            )
            content.is_cut_here = True
        elif not self._is_rotated_away(content):
            return False
        content.is_over = True
        content.feed.end()
        return True

    def _go_on(self, content: Content) -> bool:
        """Begin the content that follows; False when it isn't there yet."""
        if content.is_cut_here:
            fd = opened(self._path)
            if fd is not None:
                self._next = (content.generation + 1, 0)
                self._begin(fd, content.generation + 1, 0)
            return fd is not None
        status = os.fstat(content.fd)
        fd = following(self._path, status)
        if fd is not None:
            begun = self._begin(fd, content.generation + 1, 0)
            begun.entered_from, begun.after = self._next, status
        return fd is not None

    def _is_superseded(self, content: Content) -> bool:
        """After the first bytes of a content: see whether it was copied away and truncated before they were read.

        Then it is replaced by its copy. Without bytes before an offset, only the file before it tells.
        """
        after, content.after = content.after, None
        fd = None if after is None else following(self._path, after)
        if after is None or fd is None:
            return False
        if os.path.samestat(os.fstat(fd), content.status):
            os.close(fd)
            return False
        begun = self._begin(fd, content.generation, 0)
        begun.entered_from, begun.after = content.entered_from, after
        return True

    def _is_rotated_away(self, content: Content) -> bool:
        """True when another file has had the path for as long as writers may need to notice, and all is read."""
        live = status_of(self._path)
        is_live = live is not None and os.path.samestat(live, content.status)
        if is_live or (live is None and not is_followed(self._path, content.status)):
            self._rotated_at = None
            return False
        now = self._clock.monotonic()
        if self._rotated_at is None:
            self._rotated_at = now
        return now - self._rotated_at >= self._rotation_grace_s and os.fstat(content.fd).st_size <= content.offset
