"""The library's version, as peers compare it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    LIBRARY = version("consecution")
except PackageNotFoundError:  # run from a folder that was never installed
    LIBRARY = "0+unknown"
