"""What a flow wrote into its own code's folder, by a relative path: a user's results, which must not go with the code.

Rules of this module: the files that were unpacked are noted beside them, in one hidden file; all others count as
written, but for what Python compiles. A folder without that note (an older agent's) holds nothing that is known of.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NOTE = ".consecution-files"


def note_files(folder: Path) -> None:
    """Note which files were unpacked.

    Raises:
        OSError: The disk doesn't take it.
    """
    (folder / NOTE).write_text(json.dumps(sorted(_files_of(folder))))


def written_files(folder: Path) -> list[str]:
    """Give the files that came later, sorted, as paths within the folder."""
    try:
        noted = set(json.loads((folder / NOTE).read_text()))
    except (FileNotFoundError, ValueError):  # a note that was cut off by a full disk says nothing either
        return []
    return sorted(_files_of(folder) - noted)


def _files_of(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts and path.name != NOTE}
