"""The examples that have a picture in docs/gallery, with the options that they need to be loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "docs" / "gallery"
PICTURES: dict[str, tuple[str, ...]] = {
    "airports": ("out=out",),
    "wordcount": (),
    "paycheck": (),
    "mortgage": (),
    "investment": (),
    "budget": (),
    "shares": (),
    "log_etl": (),
}


def draw(name: str) -> str:
    """Draw an example as a user would; gives the SVG."""
    options = [word for option in PICTURES[name] for word in ("-D", option)]
    command = [sys.executable, "-m", "consecution", "graph", str(ROOT / "examples" / f"{name}.py"), *options]
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--format", "svg"], cwd=folder, capture_output=True, text=True, check=True, timeout=60
        )
    return done.stdout
