"""Where producers listen: on loopback, unless who may send is known or the user said aloud that nobody cares."""

from __future__ import annotations

import ipaddress
import socket

from consecution.errors import GraphError, SourceError, short_repr

BACKLOG = 1024


def check_port(what: str, port: object) -> int:
    """Give a port to bind.

    Raises:
        GraphError: It is none.
    """
    if isinstance(port, int) and not isinstance(port, bool) and 0 <= port < 65536:
        return port
    msg = f"{what}(port={port!r}): expected a port from 1 to 65535, or 0 for any free one"
    raise GraphError(msg)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(what: str, host: str, *, is_guarded: bool, insecure: bool, cure: str) -> None:
    """Refuse to let everybody in without a word.

    Raises:
        GraphError: Other machines reach the address, and nothing tells who may send.
    """
    if is_loopback(host) or is_guarded or insecure:
        return
    msg = (
        f"{what}(host={host!r}): everybody who reaches this address could hand items over; {cure}, listen on 127.0.0.1 "
        "behind a proxy, or say insecure=True"
    )
    raise GraphError(msg)


def check_tls(what: str, tls: object) -> None:
    """Refuse what is no context of the module ssl, such as the path of a certificate.

    Raises:
        GraphError: It is none.
    """
    if tls is None:
        return
    import ssl  # takes time to load, and few need it

    if not isinstance(tls, ssl.SSLContext):
        msg = (
            f"{what}(tls={short_repr(tls)}): expected an ssl.SSLContext: tls = ssl.create_default_context("
            "ssl.Purpose.CLIENT_AUTH); tls.load_cert_chain(certificate_file, key_file)"
        )
        raise GraphError(msg)


def listen(where: str, host: str, port: int, *, kernel_bytes: int | None = None) -> socket.socket:
    """Give a listening socket that doesn't block.

    Args:
        where: Who listens, for errors.
        host: An address of this machine.
        port: 0 for any free one.
        kernel_bytes: How much the kernel may keep of each connection that nobody has read; None: as it likes.

    Raises:
        SourceError: The address can't be bound.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # With the protocol by its number: asyncio sets TCP_NODELAY only then, and without it answers take 40 ms more.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        msg = f"{where}: {host!r} is no address of this machine ({error}); give host='127.0.0.1' or one of its own"
        raise SourceError(msg) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart binds while old connections linger
        if kernel_bytes is not None:  # connections inherit it; Linux takes twice as much, for its own books
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kernel_bytes)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        msg = f"{where}: can't listen on {host}:{port} ({error.strerror}); end what listens there, or give another port"
        raise SourceError(msg) from error
    return listener


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Give (host, port) where a socket is bound."""
    host, port = listener.getsockname()[:2]
    return host, port
