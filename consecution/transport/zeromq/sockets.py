"""The one factory of sockets: every option that keeps ZeroMQ within our rules is set here.

Rules of this module: no other code creates a socket, and none changes these options.

1. RCVHWM is 0 on every socket that receives: with a bound, one peer that sends PINGs and resets its connection aborts
   the process (libzmq issues 3937, 4764 and 4767: ``Assertion failed: !_io_error``). Credit bounds memory instead.
2. No ZMTP heartbeats and no TCP_MAXRT: both cut healthy connections to a receiver that is slow. TCP keepalive is on.
3. IMMEDIATE on what connects: a packet never waits in a connection that isn't there, for whoever binds the port next.
4. MAXMSGSIZE and HANDSHAKE_IVL on all: a peer can't claim gigabytes or hold a connection open before it said hello.
5. Off loopback there are keys, or ``insecure`` was said. With keys, a connection that the `Authenticator` didn't
   allow is refused, also while nobody answers for it (ZAP_ENFORCE_DOMAIN).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, TypeAlias

import zmq

from consecution.errors import ClusterError

if TYPE_CHECKING:
    from consecution.transport.zeromq.keys import Keys

Socket: TypeAlias = "zmq.Socket[bytes]"
Context: TypeAlias = "zmq.Context[Socket]"

ZAP_DOMAIN = b"consecution"
ZAP_ADDRESS = "inproc://zeromq.zap.01"
DATA_BYTES_MAX = 16 << 20
CONTROL_BYTES_MAX = 1 << 20


class AddressTaken(ClusterError):
    """Somebody else is bound there now."""


_KERNEL_BUFFER_BYTES = 512 << 10
_SOCKETS_MAX = 8192
_SEND_MARK = 1000
_COMMON: dict[int, int] = {
    zmq.RCVHWM: 0,
    zmq.SNDHWM: _SEND_MARK,
    zmq.HANDSHAKE_IVL: 5_000,
    zmq.HEARTBEAT_IVL: 0,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 2_000,
    zmq.CONNECT_TIMEOUT: 2_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 2,
    zmq.TCP_KEEPALIVE_INTVL: 1,
    zmq.TCP_KEEPALIVE_CNT: 3,
}
_DATA: dict[int, int] = {
    zmq.LINGER: 0,
    zmq.MAXMSGSIZE: DATA_BYTES_MAX,
    zmq.SNDBUF: _KERNEL_BUFFER_BYTES,
    zmq.RCVBUF: _KERNEL_BUFFER_BYTES,
}
_CONTROL: dict[int, int] = {zmq.LINGER: 1_000, zmq.MAXMSGSIZE: CONTROL_BYTES_MAX}
_INSIDE: dict[int, int] = {zmq.LINGER: 0, zmq.RCVHWM: 0, zmq.SNDHWM: 0}


def new_context() -> Context:
    """Make a context of its own for a transport or a control endpoint; ``destroy(linger=…)`` closes all of it."""
    context: Context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, _SOCKETS_MAX)
    return context


def pull(context: Context, address: str, keys: Keys | None, *, insecure: bool = False) -> Socket:
    """Bind the one PULL of a process."""
    return _bind(_make(context, zmq.PULL, _DATA), address, keys, insecure)


def push(context: Context, keys: Keys | None, server_key: bytes | None) -> Socket:
    """Make the PUSH to one peer; the caller watches it, then connects it."""
    return _client(_make(context, zmq.PUSH, _DATA), keys, server_key)


def publisher(context: Context, address: str, keys: Keys | None, *, insecure: bool = False) -> Socket:
    """Bind a PUB: for news that may be missed (it drops what a slow subscriber doesn't take)."""
    return _bind(_make(context, zmq.PUB, _CONTROL), address, keys, insecure)


def subscriber(context: Context, keys: Keys | None, server_key: bytes | None) -> Socket:
    """Make a SUB that hears all; the caller watches it, then connects it."""
    socket = _client(_make(context, zmq.SUB, _CONTROL), keys, server_key)
    socket.set(zmq.SUBSCRIBE, b"")
    return socket


def router(context: Context, address: str, keys: Keys | None, *, insecure: bool = False) -> Socket:
    """Bind a ROUTER that says when a peer is gone, where the default drops its messages without a word."""
    socket = _make(context, zmq.ROUTER, _CONTROL)
    socket.set(zmq.ROUTER_MANDATORY, 1)
    return _bind(socket, address, keys, insecure)


def dealer(context: Context, keys: Keys | None, server_key: bytes | None) -> Socket:
    """Make a DEALER without an identity of its own; the caller watches it, then connects it."""
    return _client(_make(context, zmq.DEALER, _CONTROL), keys, server_key)


def bridge_router(context: Context, address: str, keys: Keys | None, *, insecure: bool = False) -> Socket:
    """Bind a ROUTER as `router` does, for items: with the bounds of data."""
    socket = _make(context, zmq.ROUTER, _DATA)
    socket.set(zmq.ROUTER_MANDATORY, 1)
    return _bind(socket, address, keys, insecure)


def bridge_dealer(context: Context, keys: Keys | None, server_key: bytes | None) -> Socket:
    """Make a DEALER as `dealer` does, for items: with the bounds of data."""
    return _client(_make(context, zmq.DEALER, _DATA), keys, server_key)


def pair(context: Context, address: str) -> Socket:
    """Connect a PAIR to an ``inproc://`` address, for what a monitor says."""
    socket = context.socket(zmq.PAIR)
    _set(socket, _INSIDE)
    socket.connect(address)
    return socket


def zap(context: Context) -> Socket:
    """Bind the socket that libzmq asks about each connection; before any socket with keys is bound."""
    socket = context.socket(zmq.REP)
    _set(socket, _INSIDE)
    socket.bind(ZAP_ADDRESS)
    return socket


def bound_address(socket: Socket) -> str:
    """Where a socket is bound, with the port that was chosen for ``:*``."""
    endpoint = socket.get(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return endpoint.rstrip(b"\0").decode()


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("tcp://127.0.0.1:*"), is_loopback("ipc:///run/x"), is_loopback("tcp://0.0.0.0:7000")
    (True, True, False)
    """
    scheme, _, rest = address.partition("://")
    if scheme in ("ipc", "inproc"):
        return True
    host = rest.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _make(context: Context, kind: int, options: dict[int, int]) -> Socket:
    try:
        socket = context.socket(kind)
    except zmq.ZMQError as error:
        message = f"can't open one more socket: {error}; allow this process more open files (ulimit -n, LimitNOFILE=)"
        raise ClusterError(message) from error
    _set(socket, _COMMON)
    _set(socket, options)
    return socket


def _set(socket: Socket, options: dict[int, int]) -> None:
    for option, value in options.items():
        socket.set(option, value)


def _bind(socket: Socket, address: str, keys: Keys | None, insecure: bool) -> Socket:
    if keys is None and not insecure and not is_loopback(address):
        socket.close(linger=0)
        message = (
            f"{address} can be reached from other machines, and there are no keys: make some with "
            "`consecution keys new`, bind to 127.0.0.1, or say --insecure"
        )
        raise ClusterError(message)
    if keys is not None:
        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_SECRETKEY, keys.secret)
        socket.set(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)
    if "[" in address:
        socket.set(zmq.IPV6, 1)
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        message = f"can't bind {address}: {error}; choose a free port (or ':*') and an address of this machine"
        kind = AddressTaken if error.errno == zmq.EADDRINUSE else ClusterError
        raise kind(message) from error
    return socket


def _client(socket: Socket, keys: Keys | None, server_key: bytes | None) -> Socket:
    socket.set(zmq.IMMEDIATE, 1)
    socket.set(zmq.IPV6, 1)
    if server_key is not None:
        if keys is None:
            socket.close(linger=0)
            message = "the peer expects a key and this process has none: give it one (`consecution keys new`)"
            raise ClusterError(message)
        socket.set(zmq.CURVE_SERVERKEY, server_key)
        socket.set(zmq.CURVE_PUBLICKEY, keys.public)
        socket.set(zmq.CURVE_SECRETKEY, keys.secret)
    return socket
