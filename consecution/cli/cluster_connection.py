"""What all commands of a cluster share: its address, the keys, and the connection.

Rules of this module: one address is all that a client or worker is told; keys come from files, never from arguments.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from consecution.client import Client

DEFAULT_COORDINATOR = "tcp://127.0.0.1:7000"

Coordinator = Annotated[
    str,
    typer.Option(
        "--coordinator",
        "-c",
        metavar="ADDRESS",
        envvar="CONSECUTION_COORDINATOR",
        help="The coordinator's address.",
    ),
]
KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        envvar="CONSECUTION_KEYS",
        help="This side's keys, from `consecution keys new`; needed where the coordinator has keys.",
        show_default=False,
    ),
]
CoordinatorKey = Annotated[
    str | None,
    typer.Option(
        "--coordinator-key",
        metavar="KEY|FILE",
        envvar="CONSECUTION_COORDINATOR_KEY",
        help="The coordinator's public key, or a file that holds it.",
        show_default=False,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.1,
        envvar="CONSECUTION_TIMEOUT",
        help="Give up when the coordinator doesn't answer for so long.",
    ),
]
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", envvar="CONSECUTION_NAME", help="The topology's name.", show_default=False),
]


def public_key(text: str | None) -> bytes | None:
    """Give a public key, from itself or from the first word of a file.

    Raises:
        ClusterError: It is neither.
    """
    from consecution.errors import ClusterError
    from consecution.transport.zeromq.keys import KEY_CHARS

    if text is None:
        return None
    word = text
    if len(text) != KEY_CHARS or Path(text).is_file():
        try:
            words = Path(text).read_text(encoding="ascii").split()
        except (OSError, UnicodeDecodeError) as error:
            message = (
                f"--coordinator-key {text!r} is neither a key of {KEY_CHARS} characters nor a file with one: {error}"
            )
            raise ClusterError(message) from error
        word = words[0] if words else ""
    if len(word) != KEY_CHARS or not word.isascii():
        message = f"{text!r} holds no public key of {KEY_CHARS} characters; `consecution keys show FILE` prints one"
        raise ClusterError(message)
    return word.encode("ascii")


def connect(coordinator: str, keys: Path | None, coordinator_key: str | None, timeout: float) -> Client:
    """Connect to the coordinator; the caller closes it.

    Raises:
        ClusterError: The address or the keys can't be used.
    """
    from consecution.client import Client

    return Client(coordinator, keys=keys, coordinator_key=public_key(coordinator_key), timeout_s=timeout)
