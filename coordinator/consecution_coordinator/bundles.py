"""Bundles on the coordinator's disk: uploads in parts, and parts for workers.

Rules of this module: a bundle's file is named by its SHA-256 and appears when it is complete and checked. An upload
that stops is forgotten after ten minutes; what no topology uses, at the next start.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from consecution.errors import ClusterError, ProtocolError
from consecution.wire.bundle import BUNDLE_BYTES_MAX, check_bundle, file_digest
from consecution.wire.cluster.parcel import CHUNK_BYTES
from consecution.wire.cluster.to_worker import BundleChunk

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from consecution.wire.cluster.from_client import BundlePart
    from consecution.wire.cluster.to_worker import BundleInfo

UPLOAD_S = 600.0
UPLOADS_MAX = 32
_DIGITS = frozenset("0123456789abcdef")


class Bundles:
    """Owned by one thread.

    Args:
        folder: Made when it isn't there.

    Raises:
        ClusterError: The folder can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            message = f"{folder} can't be made ({error.strerror}); give another --data-dir"
            raise ClusterError(message) from error
        for partial in folder.glob("*.part"):
            partial.unlink()

    def have(self, info: BundleInfo) -> int:
        """How many bytes of a bundle are here; all of them only when it is complete and checked."""
        _check_name(info.sha256)
        if self._complete(info.sha256).is_file():
            return info.size_bytes
        try:
            return min(self._partial(info.sha256).stat().st_size, max(0, info.size_bytes - 1))
        except FileNotFoundError:
            return 0

    def add(self, part: BundlePart) -> int:
        """Add a part of an upload; how many bytes are here now.

        Raises:
            ProtocolError: The part is out of bounds, or the whole isn't what its name says; the upload begins anew.
            CapacityError: It would unpack to too much.
            OSError: The disk is full.
        """
        sha256, size = part.bundle.sha256, part.bundle.size_bytes
        _check_name(sha256)
        is_inside = 0 <= part.offset <= part.offset + len(part.data) <= size <= BUNDLE_BYTES_MAX
        if not size or not is_inside or len(part.data) > CHUNK_BYTES:
            message = f"a part of {len(part.data):,} bytes at {part.offset:,} of a bundle of {size:,} is out of bounds"
            raise ProtocolError(message)
        if self._complete(sha256).is_file():
            return size
        partial = self._partial(sha256)
        here = partial.stat().st_size if partial.exists() else 0
        if part.offset != here:
            return here  # told twice, or out of order: the sender goes on from there
        if here == 0:
            self._forget_old_uploads()
        with partial.open("ab") as file:
            file.write(part.data)
        here += len(part.data)
        if here == size:
            self._complete_upload(partial, sha256)
        return here

    def _complete_upload(self, partial: Path, sha256: str) -> None:
        try:
            digest = file_digest(partial)
            if digest != sha256:
                message = f"the bundle has SHA-256 {digest[:12]}…, expected {sha256[:12]}…: send it again"
                raise ProtocolError(message)
            check_bundle(partial)
        except Exception:
            partial.unlink()
            raise
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(self._complete(sha256))

    def _forget_old_uploads(self) -> None:
        uploads = sorted(self._folder.glob("*.part"), key=lambda path: path.stat().st_mtime)
        too_many = max(0, len(uploads) - UPLOADS_MAX + 1)
        for number, path in enumerate(uploads):
            if number < too_many or time.time() - path.stat().st_mtime > UPLOAD_S:
                path.unlink()

    def read(self, sha256: str, offset: int) -> BundleChunk:
        """A part of a complete bundle.

        Raises:
            ProtocolError: There is no such bundle, or the offset is beyond its end.
        """
        _check_name(sha256)
        path = self._complete(sha256)
        try:
            size = path.stat().st_size
            if not 0 <= offset <= size:
                message = f"offset {offset:,} of a bundle of {size:,} bytes"
                raise ProtocolError(message)
            with path.open("rb") as file:
                file.seek(offset)
                return BundleChunk(sha256, offset, size, file.read(CHUNK_BYTES))
        except FileNotFoundError:
            message = f"there is no bundle {sha256[:12]}…; submit the flow again"
            raise ProtocolError(message) from None

    def keep_only(self, used: Collection[str]) -> None:
        """Remove complete bundles that nobody uses."""
        for path in self._folder.glob("*.zip"):
            if path.stem not in used:
                path.unlink()

    def _complete(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.zip"

    def _partial(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.part"


def _check_name(sha256: str) -> None:
    """Let nothing but a digest become a file's name."""
    if len(sha256) != 64 or not set(sha256) <= _DIGITS:
        message = f"{sha256[:80]!r} is no SHA-256; expected 64 hexadecimal digits"
        raise ProtocolError(message)
