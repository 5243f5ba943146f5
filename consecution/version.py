"""The library's version: told to users, and compared by peers."""

from __future__ import annotations

VERSION = "0.1.0"
"""The build reads it from here, so that a process can tell it without a search for the package's metadata."""
