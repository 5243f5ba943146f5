"""Bundles: the zip of a flow's folder that travels to workers, how it is made and how it is unpacked.

Rules of this module: a bundle's name is its SHA-256. The same folder always gives the same bytes: names are sorted,
times are fixed. A bundle that comes in is hostile until it is unpacked: nothing is written outside of the new folder,
no link, device or duplicate gets through, and sizes are counted while unpacking, not believed.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from consecution.errors import CapacityError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUNDLE_BYTES_MAX = 20 << 20
UNPACKED_BYTES_MAX = 200 << 20
FILES_MAX = 10_000
NAME_BYTES_MAX = 1_000

_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold
_LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages"})
_MARKS_OF_OTHERS = ("pyvenv.cfg", "CACHEDIR.TAG")  # a virtual environment, a cache
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Bundle:
    """A zip, ready to be sent.

    Attributes:
        data: The bytes.
        sha256: Its name, 64 hexadecimal digits.
        names: Of the files in it, sorted.
        left_out: Links that lead out of the folder, and what isn't a file.
    """

    data: bytes
    sha256: str
    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def make_bundle(folder: Path, *, bytes_max: int = BUNDLE_BYTES_MAX) -> Bundle:
    """Zip all files below a folder, without hidden ones, environments, caches and journals.

    Args:
        folder: The top of what an import of the flow needs.
        bytes_max: Of the zip.

    Returns:
        The bundle; the same files always give the same.

    Raises:
        CapacityError: There is too much; names the largest files.
        OSError: A file can't be read.
    """
    folder = folder.resolve()
    files: list[tuple[str, Path]] = []
    left_out: list[str] = []
    sizes: list[tuple[int, str]] = []
    total = 0
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or not path.resolve().is_relative_to(folder):
            left_out.append(name)
            continue
        size = path.stat().st_size
        sizes.append((size, name))
        files.append((name, path))
        total += size
        if len(files) > FILES_MAX or total > UNPACKED_BYTES_MAX:
            raise _too_large(folder, f"more than {FILES_MAX:,} files or {UNPACKED_BYTES_MAX >> 20} MiB", sizes)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(files):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, path.read_bytes())
            if target.tell() > bytes_max:
                raise _too_large(folder, f"more than {bytes_max / (1 << 20):g} MiB when zipped", sizes)
    data = target.getvalue()
    if len(data) > bytes_max:
        raise _too_large(folder, f"more than {bytes_max / (1 << 20):g} MiB when zipped", sizes)
    names = tuple(sorted(name for name, _ in files))
    return Bundle(data, hashlib.sha256(data).hexdigest(), names, tuple(sorted(left_out)))


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _LEFT_OUT
            and not name.endswith(".egg-info")
            and not (here / name).is_symlink()
            and not any((here / name / mark).exists() for mark in _MARKS_OF_OTHERS)
        )
        for name in sorted(names):
            if not name.startswith(".") and not name.endswith((".pyc", ".pyo")):
                yield here / name


def _too_large(folder: Path, what: str, sizes: list[tuple[int, str]]) -> CapacityError:
    largest = ", ".join(f"{name} ({size / (1 << 20):.1f} MiB)" for size, name in sorted(sizes, reverse=True)[:5])
    message = (
        f"the flow's folder {folder} has {what}; the largest files are {largest}: keep the flow in a folder of its "
        "own, and let it read large data from where the workers find it"
    )
    return CapacityError(message)


def unpack_bundle(bundle: Path, sha256: str, folder: Path, finish: Callable[[Path], None] | None = None) -> None:
    """Check a zip against its name, and unpack it into a new folder (0700) that appears only when it is complete.

    Args:
        bundle: The zip.
        sha256: What it must be.
        folder: Does not exist yet; its parent does.
        finish: Called with what is unpacked, before it gets its name.

    Raises:
        ProtocolError: It is another file, no zip, or has an entry that isn't let through; nothing is left behind.
        CapacityError: It unpacks to too much; nothing is left behind.
        OSError: The disk is full or can't be written.
    """
    digest = file_digest(bundle)
    if digest != sha256:
        message = f"bundle {bundle.name} has SHA-256 {digest[:12]}…, expected {sha256[:12]}…: it was damaged on the way"
        raise ProtocolError(message)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    try:
        with _open(bundle) as archive:
            left = UNPACKED_BYTES_MAX
            for entry in checked_entries(archive, bundle.name):
                left -= _unpack_one(archive, entry, partial, left)
        if finish is not None:
            finish(partial)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def check_bundle(bundle: Path) -> None:
    """Check the entries of a zip without unpacking it.

    Raises:
        ProtocolError: It is no zip, or has an entry that isn't let through.
        CapacityError: It says itself that it unpacks to too much.
    """
    with _open(bundle) as archive:
        checked_entries(archive, bundle.name)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(bundle: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(bundle)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        message = f"bundle {bundle.name} is no zip: {error}"
        raise ProtocolError(message) from error


def checked_entries(archive: zipfile.ZipFile, bundle: str) -> list[zipfile.ZipInfo]:
    """The files of a zip.

    Raises:
        ProtocolError: An entry is absolute, climbs out, is a link or device, comes twice, or has a strange name.
        CapacityError: There are too many, or they say that they are too large.
    """
    entries = archive.infolist()
    if len(entries) > FILES_MAX:
        message = f"bundle {bundle} has {len(entries):,} entries; at most {FILES_MAX:,} are unpacked"
        raise CapacityError(message)
    if sum(entry.file_size for entry in entries) > UNPACKED_BYTES_MAX:
        message = f"bundle {bundle} unpacks to more than {UNPACKED_BYTES_MAX >> 20} MiB, which is the bound"
        raise CapacityError(message)
    seen: set[str] = set()
    files: list[zipfile.ZipInfo] = []
    for entry in entries:
        wrong = what_is_wrong_with(entry, seen)
        if wrong is not None:
            message = f"bundle {bundle} has an entry {entry.filename[:200]!r} that {wrong}; nothing was unpacked"
            raise ProtocolError(message)
        if not entry.is_dir():
            files.append(entry)
    folders = {str(parent) for name in seen for parent in PurePosixPath(name).parents}
    if both := sorted(folders & seen):
        message = f"bundle {bundle} has {both[0]!r} both as a file and as a folder; nothing was unpacked"
        raise ProtocolError(message)
    return files


def what_is_wrong_with(entry: zipfile.ZipInfo, seen: set[str]) -> str | None:
    """Why an entry isn't let through; None, and its name is added to ``seen``, when it is."""
    name = entry.filename
    parts = name.rstrip("/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if entry.orig_filename != name or "\0" in name or "\\" in name or not name.isprintable():
        return "has characters that no file's name should have"
    if len(name.encode("utf-8", "replace")) > NAME_BYTES_MAX:
        return f"has a name of more than {NAME_BYTES_MAX} bytes"
    if name.startswith("/") or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        return "would be unpacked outside of its folder"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.is_dir():
        return None if kind in (0, stat.S_IFDIR) else "is no folder"
    if kind not in (0, stat.S_IFREG):
        return "is a link or a device"
    if name in seen:
        return "comes twice"
    seen.add(name)
    return None


def _unpack_one(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, left: int) -> int:
    """Write one file, counting what really comes; how many bytes it had."""
    path = folder.joinpath(*entry.filename.split("/"))
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        source = archive.open(entry)
    except (OSError, ValueError) as error:  # a place before the file's beginning, which no seek goes to
        message = f"entry {entry.filename!r} of the bundle can't be found: {error}"
        raise ProtocolError(message) from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        message = f"entry {entry.filename!r} of the bundle can't be read: {error}"
        raise ProtocolError(message) from error
    try:
        with source, path.open("xb") as target:
            while piece := source.read(_PIECE_BYTES):
                written += len(piece)
                if written > left:
                    message = f"the bundle unpacks to more than {UNPACKED_BYTES_MAX >> 20} MiB, which is the bound"
                    raise CapacityError(message)
                target.write(piece)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        message = f"entry {entry.filename!r} of the bundle can't be read: {error}"
        raise ProtocolError(message) from error
    return written
