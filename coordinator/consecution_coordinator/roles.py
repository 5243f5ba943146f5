"""Who may say what: roles of keys, checked for each message.

Rules of this module: pure but for `read_roles`. Fails closed: a key without a role may say nothing. Without keys (only
on loopback, or said aloud with --insecure) everybody may everything.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from consecution.errors import ClusterError
from consecution.transport.zeromq.keys import KEY_CHARS
from consecution.wire.cluster.from_client import AskFates, AskLetters, AskLog, AskStatus, ListAll, Push
from consecution.wire.cluster.from_worker import AskBundle, AskPlacement, Heartbeat, LogText, Register
from consecution.wire.control import ItemsAre, PushedIn

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class KeyRole(enum.Enum):
    """What a key may do.

    Attributes:
        COORDINATOR: Nothing more than being named in the list; for the coordinator's own key.
        WORKER: Register and run what it is told.
        SENDER: Push items into running topologies, and ask what became of them.
        SUBMITTER: Submit flows, which is running code on all workers; pause, drain, kill; and all that a reader and a
            sender may.
        READER: List, status, dead letters and logs.
    """

    COORDINATOR = "coordinator"
    WORKER = "worker"
    SENDER = "sender"
    SUBMITTER = "submitter"
    READER = "reader"


_OF_WORKERS = (Register, Heartbeat, AskPlacement, AskBundle, LogText, PushedIn, ItemsAre)
_OF_SENDERS = (Push, AskFates)
_OF_READERS = (ListAll, AskStatus, AskLetters, AskLog)


def needed_role(message: object) -> frozenset[KeyRole]:
    """The roles of which one is needed to say this."""
    if isinstance(message, _OF_WORKERS):
        return frozenset({KeyRole.WORKER})
    if isinstance(message, _OF_READERS):
        return frozenset({KeyRole.READER, KeyRole.SUBMITTER})
    if isinstance(message, _OF_SENDERS):
        return frozenset({KeyRole.SENDER, KeyRole.SUBMITTER})
    return frozenset({KeyRole.SUBMITTER})


def may(roles: frozenset[KeyRole], message: object) -> bool:
    """Whether a key with these roles may say this.

    >>> may(frozenset({KeyRole.READER}), ListAll())
    True
    """
    return bool(roles & needed_role(message))


def parse_roles(text: str, where: str) -> Mapping[bytes, frozenset[KeyRole]]:
    r"""Read a list of allowed keys: on each line a public key, its roles with commas, and whatever names it for people.

    Raises:
        ClusterError: A line is wrong; names it.

    >>> parse_roles("# team\n" + "k" * 40 + " worker,reader  host b\n", "allowed.txt")[b"k" * 40] == {
    ...     KeyRole.WORKER, KeyRole.READER}
    True
    """
    found: dict[bytes, frozenset[KeyRole]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        names = words[1].split(",") if len(words) > 1 else []
        try:
            if len(words[0]) != KEY_CHARS or not names:
                raise ValueError
            key = words[0].encode("ascii")
            roles = frozenset(KeyRole(name) for name in names)
        except ValueError:
            message = (
                f"{where}, line {number}: expected `PUBLICKEY role[,role] [name]` with a key of {KEY_CHARS} characters "
                f"(`consecution keys show`) and roles of {', '.join(role.value for role in KeyRole)}"
            )
            raise ClusterError(message) from None
        found[key] = found.get(key, frozenset()) | roles
    return found


def read_roles(path: Path) -> Mapping[bytes, frozenset[KeyRole]]:
    """Read the list of allowed keys from a file.

    Raises:
        ClusterError: It can't be read, others may write it, or a line is wrong.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"the list of allowed keys {path} can't be read: {error}"
        raise ClusterError(message) from error
    if mode & 0o022:
        message = f"the list of allowed keys {path} can be written by others (mode {mode & 0o777:o}): chmod 644 {path}"
        raise ClusterError(message)
    return parse_roles(text, str(path))
