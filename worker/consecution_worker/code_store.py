"""Code of flows on this worker's disk: fetched in parts, checked and unpacked, kept while it is used.

Rules of this module: what has another checksum, and a zip with an entry that climbs out, is never unpacked; a folder
under a checksum's name is whole, because it gets that name last (``consecution.wire.bundle``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from consecution.errors import ConsecutionError
from consecution.wire.bundle import unpack_bundle
from consecution_worker.data_dir import remove
from consecution_worker.leftovers import note_files

if TYPE_CHECKING:
    from pathlib import Path

    from consecution.wire.cluster.to_worker import BundleInfo
    from consecution_worker.data_dir import DataDir


class CodeRefused(ConsecutionError):
    """The bytes are not the bundle that was asked for, or can't be unpacked."""


class CodeStore:
    """The bundles of a worker.

    Args:
        data_dir: Where they are kept.
    """

    def __init__(self, data_dir: DataDir) -> None:
        self._data_dir = data_dir

    def has(self, bundle: BundleInfo) -> bool:
        """Whether a bundle is there; if not, the next part is its first.

        Raises:
            CodeRefused: The disk doesn't take it.
        """
        folder = self._data_dir.bundle(bundle.sha256)
        try:
            if folder.is_dir():
                os.utime(folder)  # used now: `DataDir.remove_bundles` goes by it
                return True
            self._part(bundle.sha256).write_bytes(b"")
        except OSError as error:
            raise _not_written(folder, error) from error
        return False

    def add(self, sha256: str, data: bytes, *, is_last: bool) -> Path | None:
        """Store a part; with the last one check and unpack it all.

        Returns:
            The folder of the code; None before the last part.

        Raises:
            CodeRefused: Another checksum, a zip that is refused, or a disk that doesn't take it. Nothing stays.
        """
        part, folder = self._part(sha256), self._data_dir.bundle(sha256)
        try:
            with part.open("ab") as file:
                file.write(data)
            if not is_last:
                return None
            unpack_bundle(part, sha256, folder, note_files)
        except OSError as error:
            remove(part)
            raise _not_written(folder, error) from error
        except ConsecutionError as error:
            remove(part)
            raise CodeRefused(str(error)) from error
        remove(part)
        return folder

    def _part(self, sha256: str) -> Path:
        folder = self._data_dir.bundle(sha256)
        return folder.with_name(folder.name + ".part")


def _not_written(folder: Path, error: OSError) -> CodeRefused:
    return CodeRefused(f"{folder} can't be written: {error.strerror}; free some space on the worker's disk")
