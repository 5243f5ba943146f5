"""The reader of MessagePack that msgspec has, where it is installed (``pip install 'consecution[fast]'``).

Rules of this module: the only importer of msgspec. What it reads, msgpack reads alike (see ``codec``, rule 5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

FastReader: Callable[..., Any] | None
"""Makes a decoder: ``FastReader(ext_hook=…).decode(data)``; None without msgspec."""

try:
    from msgspec.msgpack import Decoder
except ImportError:
    FastReader = None
else:
    FastReader = Decoder
