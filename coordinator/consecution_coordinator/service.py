"""The coordinator as a process: sockets, disk and clock round the core.

Rules of this module: one thread does all. What an event changes is on disk before anything is told or published; when
it can't be written, the service stops. A message that can't be read, or that its key may not send, is counted and
answered by a refusal; it changes nothing.

Shutdown, in this order: the loop ends, sockets are closed (a second for answers on their way), the store is closed.
What runs in the cluster goes on, and is taken back by the next start.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, cast

from consecution.errors import CapacityError, ClusterError, ProtocolError
from consecution.transport.zeromq.control import ControlServer
from consecution.transport.zeromq.keys import key_id, read_keys
from consecution.transport.zeromq.sockets import AddressTaken, is_loopback
from consecution.version import VERSION
from consecution.wire.cluster.from_client import FROM_CLIENT, BundlePart, Submit, SubmitGroup
from consecution.wire.cluster.from_worker import FROM_WORKER, AskBundle
from consecution.wire.cluster.parcel import OtherVersion, Refused, pack, unpack
from consecution.wire.cluster.to_client import LettersAre, Listing, NeedBundle
from consecution.wire.cluster.to_worker import NumbersNews, PlacementNews
from consecution_coordinator.bundles import Bundles
from consecution_coordinator.events import ClientAsked, Note, Publish, Tell, TellLetters, Tick, WorkerSaid
from consecution_coordinator.roles import KeyRole, may, needed_role, read_roles
from consecution_coordinator.state import CoordinatorState
from consecution_coordinator.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from consecution.clock import Clock
    from consecution.transport.zeromq.control import Request
    from consecution_coordinator.config import CoordinatorConfig
    from consecution_coordinator.events import Event, Instruction

log = logging.getLogger(__name__)

TICK_S = 0.1
NUMBERS_S = 1.0
LOOK_AT_KEYS_S = 1.0
PORT_RETRY_S = 0.2
REFUSALS_LOGGED_S = 10.0
_ON_DISK = (Tell, Publish, TellLetters, Note)  # all others are for the store


class Coordinator:
    """A coordinator, bound and ready; `serve` runs it. Owned by one thread; `stop` may be called from any.

    Args:
        config: How it runs.
        clock: None: the machine's.

    Attributes:
        address: Where it is bound.
        news_address: Where it publishes.
        refused: Connections and messages refused since its start.

    Raises:
        ClusterError: The data folder or the keys can't be used, the port is taken, also after `Limits.port_s` if this
            is a restart, or there are no keys off loopback.
    """

    def __init__(self, config: CoordinatorConfig, *, clock: Clock | None = None) -> None:
        self._config = config
        self._clock: Any = clock or time
        self._is_stopping = False
        self._keys = read_keys(config.keys) if config.keys is not None else None
        self._roles: Mapping[bytes, frozenset[KeyRole]] = {}
        self._roles_seen: object = None
        if self._keys is not None and config.allowed is None:
            message = (
                "a coordinator with keys needs a list of the keys that may connect: give --allowed FILE, with a line "
                "`PUBLICKEY role[,role] [name]` for each (`consecution keys show FILE` prints a public key)"
            )
            raise ClusterError(message)
        bind, news_bind = check_addresses(config)
        self._store = Store(config.data_dir)
        try:
            self._bundles = Bundles(config.data_dir / "bundles")
            self._server = self._bind(bind, news_bind)
        except BaseException:
            self._store.close()
            raise
        self.address, self.news_address = self._server.address, self._server.news_address
        self.refused = 0
        self._refusals_at = 0.0
        try:
            self._state = self._begin()
            self._read_roles()
        except BaseException:
            self.close()
            raise

    def _bind(self, bind: str, news_bind: str) -> ControlServer:
        """Open the sockets. A running cluster knows this port, so a restart waits for it a moment."""
        until = self._clock.monotonic() + (0.0 if self._store.is_new else self._config.limits.port_s)
        is_told = False
        while True:
            try:
                return ControlServer(bind, news_bind, keys=self._keys, insecure=self._config.is_insecure)
            except AddressTaken as error:
                left_s = until - self._clock.monotonic()
                if left_s <= 0:
                    raise
                if not is_told:
                    log.warning("%s; trying again for %.0f s", error, left_s)
                    is_told = True
                self._clock.sleep(min(PORT_RETRY_S, left_s))

    def _begin(self) -> CoordinatorState:
        now = self._clock.monotonic()
        state = CoordinatorState(
            VERSION,
            wall=self._clock.time() - now,
            limits=self._config.limits,
            news_port=int(self.news_address.rpartition(":")[2]),
            cluster=self._store.cluster,
            is_encrypted=self._keys is not None,
        )
        topologies = self._store.topologies()
        state.take_back(topologies, self._store.workers(), now, self._store.letter_keys)
        self._bundles.keep_only({submit.bundle.sha256 for _, submit in topologies})
        self._tick_at = self._numbers_at = self._look_at = now
        return state

    def __enter__(self) -> Coordinator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close sockets, then the store."""
        self._server.close()
        self._store.close()

    def stop(self) -> None:
        """Let `serve` return soon; safe from another thread and from a signal handler."""
        self._is_stopping = True

    # ---- loop ----------------------------------------------------------------------------------------------------

    def serve(self, *, on_turn: Callable[[], None] | None = None) -> None:
        """Answer and watch until `stop`.

        Args:
            on_turn: Called about ten times a second, or more often.

        Raises:
            ClusterError: The store can't be written.
        """
        log.info("coordinator listens on %s and publishes on %s", self.address, self.news_address)
        if self._config.is_insecure and self._keys is None and not is_loopback(self.address):
            log.warning("--insecure: everyone who reaches %s may run code on all workers", self.address)
        while not self._is_stopping:
            for request in self._server.poll(TICK_S):
                self._take(request)
            now = self._clock.monotonic()
            if now - self._tick_at >= TICK_S:
                self._tick_at = now
                self._do(Tick())
            if now - self._numbers_at >= NUMBERS_S:
                self._numbers_at = now
                self._server.publish(pack(NumbersNews(self._state.numbers())))
            if now - self._look_at >= LOOK_AT_KEYS_S:
                self._look_at = now
                self._look_after_keys(now)
            if on_turn is not None:
                on_turn()

    def _do(self, event: Event) -> None:
        """Apply one event, and do what it says."""
        instructions = self._state.handle(event, self._clock.monotonic())
        durable = [one for one in instructions if not isinstance(one, _ON_DISK)]
        if durable:
            self._store.apply(durable)
        for one in instructions:
            self._do_one(one)

    def _do_one(self, one: Instruction) -> None:
        if isinstance(one, Tell):
            message = one.message
            if isinstance(message, Listing):
                message = self._with_figures(message)
            self._reply(one.peer, message, one.request)
        elif isinstance(one, Publish):
            self._server.publish(pack(PlacementNews(one.placement)))
        elif isinstance(one, TellLetters):
            letters, next_ = self._store.letters(one.name, one.first)
            self._reply(one.peer, LettersAre(tuple(letters), next_), one.request)
        elif isinstance(one, Note):
            log.log(logging.WARNING if one.is_warning else logging.INFO, "%s", printable(one.text))

    def _reply(self, peer: bytes, message: object, request: str = "") -> None:
        try:
            self._server.reply(peer, pack(message, request))
        except CapacityError as error:
            log.error("a %s can't be told: %s", type(message).__name__, error)
            self._server.reply(peer, pack(Refused(f"the answer is too large: {error}", kind="capacity"), request))

    def _with_figures(self, listing: Listing) -> Listing:
        import dataclasses

        return dataclasses.replace(
            listing,
            refused=self.refused,
            is_insecure=self._keys is None and not is_loopback(self.address),
        )

    # ---- what comes ----------------------------------------------------------------------------------------------

    def _take(self, request: Request) -> None:
        """Read a message, check whether its key may send it, and act on it."""
        try:
            id_, message = cast("tuple[str, object]", unpack(request.payload, FROM_WORKER + FROM_CLIENT))
        except OtherVersion as error:
            self._refuse(request, error.request, Refused(str(error), kind="version"))
            return
        except ProtocolError as error:
            self._refuse(request, "", Refused(f"that is no message of a worker or client: {error}"))
            return
        roles = self._roles.get(request.key or b"", frozenset())
        if self._keys is not None and not may(roles, message):
            needed = " or ".join(sorted(role.value for role in needed_role(message)))
            who = key_id(request.key or b"")
            reason = (
                f"key {who}… is not authorised to {verb_of(message)}: that needs the role {needed}; add it in the "
                "coordinator's list of allowed keys"
            )
            self._refuse(request, id_, Refused(reason, kind="role"))
            return
        try:
            self._act(request, id_, message)
        except (ProtocolError, CapacityError, OSError) as error:
            self._refuse(request, id_, Refused(str(error)))

    def _act(self, request: Request, id_: str, message: Any) -> None:
        if isinstance(message, AskBundle):
            self._reply(request.route, self._bundles.read(message.sha256, message.offset), id_)
        elif isinstance(message, BundlePart):
            self._reply(request.route, NeedBundle(message.bundle.sha256, self._bundles.add(message)), id_)
        elif isinstance(message, FROM_WORKER):
            self._do(WorkerSaid(request.route, id_, message))  # type: ignore[arg-type]
        else:
            have = 0
            if isinstance(message, Submit):
                have = self._bundles.have(message.bundle)
            elif isinstance(message, SubmitGroup) and message.members:
                have = self._bundles.have(message.members[0].bundle)
            who = key_id(request.key) if request.key else ""
            self._do(ClientAsked(request.route, id_, message, have, who))

    def _refuse(self, request: Request, id_: str, refused: Refused) -> None:
        self.refused += 1
        now = self._clock.monotonic()
        if now - self._refusals_at >= REFUSALS_LOGGED_S / 10:  # a flood must not fill the disk
            self._refusals_at = now
            log.warning("refused (%d so far): %s", self.refused, printable(refused.reason))
        with contextlib.suppress(CapacityError):
            self._server.reply(request.route, pack(refused, id_))

    # ---- keys ----------------------------------------------------------------------------------------------------

    def _look_after_keys(self, now: float) -> None:
        refusals = self._server.take_refusals()
        self.refused += len(refusals)
        for text in refusals[:5]:
            log.warning("%s", printable(text))
        try:
            self._read_roles()
        except ClusterError as error:
            log.error("%s; the earlier list stays", error)

    def _read_roles(self) -> None:
        """Read the list of allowed keys, when it has changed."""
        path = self._config.allowed
        if path is None or self._keys is None:
            return
        try:
            stat = path.stat()
            seen: object = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError as error:
            seen = str(error)
        if seen == self._roles_seen:
            return
        self._roles_seen = seen
        self._roles = read_roles(path)
        self._server.allow(self._roles)
        log.info("%d keys are allowed to connect", len(self._roles))


def verb_of(message: object) -> str:
    """What a message asks for, in a word."""
    name = type(message).__name__
    return {
        "Register": "join as a worker",
        "BundlePart": "submit",
        "SubmitGroup": "submit",
        "ListAll": "list",
        "AskStatus": "ask for a status",
        "AskFates": "ask for items",
    }.get(name, name.lower())


def printable(text: str) -> str:
    r"""A text for the log: peers write part of it, so what isn't printable is escaped.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def check_addresses(config: CoordinatorConfig) -> tuple[str, str]:
    """The two addresses to bind.

    Raises:
        ClusterError: One isn't ``tcp://HOST:PORT``.
    """
    for address in filter(None, (config.bind, config.news_bind)):
        scheme, _, rest = address.partition("://")
        host, _, port = rest.rpartition(":")
        if scheme != "tcp" or not host or not (port == "*" or (port.isdecimal() and int(port) < 65536)):
            message = f"{address!r} is no address to bind; expected tcp://HOST:PORT, such as tcp://127.0.0.1:7000"
            raise ClusterError(message)
    if config.news_bind:
        return config.bind, config.news_bind
    head, _, port = config.bind.rpartition(":")
    return config.bind, f"{head}:{'*' if port in ('*', '0') else int(port) + 1}"
