"""CURVE keys: who may connect, and to whom.

Rules of this module: secret keys are read from files that nobody else may read, and are never shown, logged or put
into a message. Public keys are 40 characters (Z85); a *key id* for people is their first eight.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import zmq

from consecution.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

KEY_CHARS = 40


@dataclass(frozen=True, slots=True)
class Keys:
    """A pair of CURVE keys.

    Attributes:
        public: 40 characters; may be known to all.
        secret: 40 characters; kept out of ``repr``.
    """

    public: bytes
    secret: bytes = field(repr=False)


def key_id(public: bytes) -> str:
    """Give the first eight characters of a public key, for messages and logs.

    >>> key_id(b"0123456789012345678901234567890123456789")
    '01234567'
    """
    return public[:8].decode("ascii", "replace")


def new_keys() -> Keys:
    """Make a new pair from the operating system's randomness."""
    public, secret = zmq.curve_keypair()
    return Keys(public, secret)


def write_keys(keys: Keys, path: Path) -> None:
    """Write a pair to a new file that only its owner can read (0600), in two lines: public, secret.

    Raises:
        ClusterError: The file is there already; keys are never overwritten.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        message = f"{path} is there already; keys are not overwritten: choose another name, or move it away"
        raise ClusterError(message) from error
    with os.fdopen(handle, "wb") as file:
        file.write(keys.public + b"\n" + keys.secret + b"\n")


def read_keys(path: Path) -> Keys:
    """Read a pair that `write_keys` wrote.

    Raises:
        ClusterError: No such file, not two keys, not a pair, or others may read it.
    """
    try:
        mode = path.stat().st_mode
        lines = path.read_bytes().split()
    except OSError as error:
        message = f"keys {path} can't be read: {error.strerror}; make them with `consecution keys new {path}`"
        raise ClusterError(message) from error
    if mode & 0o077:
        message = f"keys {path} can be read by others (mode {mode & 0o777:o}); run `chmod 600 {path}`"
        raise ClusterError(message)
    try:
        public, secret = lines
        if zmq.curve_public(secret) != public:
            raise ValueError
    except ValueError as error:
        message = f"{path} doesn't hold a pair of keys; make one with `consecution keys new`"
        raise ClusterError(message) from error
    return Keys(public, secret)
