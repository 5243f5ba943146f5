"""A client of a cluster: submits flows, asks how they stand, tells them to pause, drain or end.

Rules of this module: every question has an id and is asked again under it until an answer or the deadline comes, so
that an answer that is lost does no harm. User code runs only in `read_flow`'s caller: what is sent is data, and a zip.
"""

from __future__ import annotations

import dataclasses
import platform
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from consecution.clock import SYSTEM_CLOCK
from consecution.errors import ClusterError, ConsecutionError, ProtocolError
from consecution.errors import Unreachable as Unreachable
from consecution.remote import RemoteReceipt, checked_key, open_groups, parts_of
from consecution.submission import Flow as Flow
from consecution.submission import FlowGroup as FlowGroup
from consecution.submission import bundle_root as bundle_root
from consecution.submission import check_read
from consecution.submission import facts_of as facts_of
from consecution.submission import packed_spec as packed_spec
from consecution.submission import read_flow as read_flow
from consecution.submission import read_group as read_group
from consecution.submission import settings_of as settings_of
from consecution.transport.base import ConnectionFailed
from consecution.transport.zeromq.control import ControlClient, Reply
from consecution.transport.zeromq.keys import Keys, read_keys
from consecution.wire.cluster.from_client import (
    AskFates,
    AskLetters,
    AskLog,
    AskStatus,
    BundlePart,
    Drain,
    Kill,
    ListAll,
    Pause,
    Push,
    Rebalance,
    Resume,
    Submit,
    SubmitGroup,
)
from consecution.wire.cluster.from_worker import LogText
from consecution.wire.cluster.parcel import CHUNK_BYTES, Done, OtherVersion, Refused, new_request, pack, unpack
from consecution.wire.cluster.to_client import (
    TO_CLIENT,
    Accepted,
    FatesAre,
    LettersAre,
    Listing,
    NeedBundle,
    Pushed,
    Status,
)
from consecution.wire.cluster.to_worker import BundleInfo
from consecution.wire.control import ASKED_MAX

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from consecution.clock import Clock
    from consecution.wire.bundle import Bundle
    from consecution.wire.control import Letter

T = TypeVar("T")

ASK_AGAIN_S = 1.0
NOT_NOW_S = 0.1
FATE_FIRST_S, FATE_LAST_S = 0.02, 1.0
TIMEOUT_S = 5.0


class Connection(Protocol):
    """What a client needs of its connection; see `ControlClient`."""

    def send(self, payload: bytes) -> bool:
        """Ask; False when there is no connection now."""

    def poll(self, timeout_s: float) -> Sequence[object]:
        """Give what has come, waiting at most so long for it."""

    def close(self) -> None:
        """Close it."""


class NotDone(ConsecutionError):
    """The coordinator refused.

    Args:
        message: Its reason.
        kind: As in `Refused`.
        is_final: Asking again gives the same answer.
    """

    why = "the coordinator refused it (NotDone)"

    def __init__(self, message: str, *, kind: str, is_final: bool = True) -> None:
        super().__init__(message)
        self.kind = kind
        self.is_final = is_final


class Client:
    """A connection to a coordinator. Use it from one thread; close it, or use it as a context manager.

    Args:
        coordinator: Its address, such as ``tcp://10.0.0.1:7000``.
        keys: This client's keys, or their file; None where the coordinator has none.
        coordinator_key: The coordinator's public key; needed with `keys`.
        timeout_s: Seconds until a question without an answer is given up.

    Raises:
        ClusterError: The address or the keys can't be used.
    """

    def __init__(
        self,
        coordinator: str,
        *,
        keys: Keys | Path | str | None = None,
        coordinator_key: str | bytes | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        address = check_address(coordinator)
        if isinstance(keys, (str, Path)):
            keys = read_keys(Path(keys))
        if isinstance(coordinator_key, str):
            coordinator_key = coordinator_key.encode("ascii", "replace")
        if keys is not None and coordinator_key is None:
            message = "keys were given, but not the coordinator's public key: give it too (--coordinator-key)"
            raise ClusterError(message)
        connection = ControlClient(address, keys=keys, server_key=coordinator_key)
        self._begin(address, connection, SYSTEM_CLOCK, timeout_s)

    def _begin(self, coordinator: str, connection: Connection, clock: Clock, timeout_s: float) -> None:
        """Ask by a connection, which it owns from now on; a client of a virtual cluster has one of its own."""
        self.coordinator = coordinator
        self.timeout_s = timeout_s
        self._control = connection
        self._clock = clock
        self._is_closed = False

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._is_closed = True
        self._control.close()

    # ---- flows ---------------------------------------------------------------------------------------------------

    def submit(
        self,
        flow: Flow | FlowGroup,
        *,
        name: str | None = None,
        slots: int = 0,
        ackers: int = 0,
        fresh: bool = False,
        memory_bytes_max: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Accepted:
        """Send a flow and start it.

        Joined consecutors become a topology each, named ``GROUP.CONSECUTOR``; all of them are kept or none.

        Args:
            flow: From `read_flow`, or from `read_group`.
            name: Of the topology, or of the group; None: the flow's.
            slots: Executors, of each of a group if it has as many tasks; 0: one for each task, as many as there are
                free slots.
            ackers: Acker processes, of each of a group; 0: one.
            fresh: Leave journals of an earlier run under this name aside.
            memory_bytes_max: Of each executor; 0: no limit.
            progress: Called with the bytes sent and the bytes in all.

        Returns:
            That it is kept; it starts as soon as there are slots. `Accepted.members` names those of a group.

        Raises:
            GraphError: It is no flow that was read.
            NotDone: The coordinator refused, and says why.
            Unreachable: It doesn't answer.
        """
        check_read(flow)
        one_of = partial(submit_of, ackers=ackers, fresh=fresh, memory_bytes_max=memory_bytes_max)
        name = name or flow.name
        submit: Submit | SubmitGroup
        if isinstance(flow, FlowGroup):
            submit = SubmitGroup(name, tuple(_members_of(flow, name, slots, one_of)))
        else:
            submit = one_of(flow, name, slots=slots)
        return self._submit(submit, flow.bundle, progress)

    def _submit(
        self, submit: Submit | SubmitGroup, bundle: Bundle, progress: Callable[[int, int], None] | None
    ) -> Accepted:
        info = BundleInfo(bundle.sha256, len(bundle.data))
        while True:
            answer = cast("Accepted | NeedBundle", self._ask(submit, (Accepted, NeedBundle)))
            if isinstance(answer, Accepted):
                return answer
            have = answer.have_bytes
            while have < info.size_bytes:
                part = BundlePart(info, have, bundle.data[have : have + CHUNK_BYTES])
                have = self._ask(part, (NeedBundle,)).have_bytes
                if progress is not None:
                    progress(have, info.size_bytes)

    def wait(
        self,
        name: str,
        *,
        timeout_s: float | None = None,
        every_s: float = 0.5,
        progress: Callable[[Status], None] | None = None,
        patience_s: float = 60.0,
    ) -> Status:
        """Wait until a topology is over.

        Args:
            name: Of the topology.
            timeout_s: At most this long; None: as long as it takes.
            every_s: How often to ask.
            progress: Called with each answer.
            patience_s: A coordinator that doesn't answer for this long is given up; it may be restarted meanwhile.

        Returns:
            Its status, over or when the time was up.

        Raises:
            Unreachable: The coordinator was silent for too long.
            NotDone: There is no such topology.
        """
        end = None if timeout_s is None else self._clock.monotonic() + timeout_s
        silent_since: float | None = None
        while True:
            try:
                status = self.status(name)
                silent_since = None
            except Unreachable:
                now = self._clock.monotonic()
                silent_since = silent_since if silent_since is not None else now
                if now - silent_since >= patience_s or (end is not None and now >= end):
                    raise
                continue
            if progress is not None:
                progress(status)
            if status.summary.state.is_over or (end is not None and self._clock.monotonic() >= end):
                return status
            self._clock.sleep(every_s)

    def wait_group(
        self,
        name: str,
        *,
        every_s: float = 0.5,
        progress: Callable[[Sequence[Status]], None] | None = None,
        patience_s: float = 60.0,
    ) -> builtins.list[Status]:
        """Wait until all topologies of a group are over; of a name that is no group, until that topology is.

        Args:
            name: Of the group.
            every_s: How often to ask.
            progress: Called with the status of each, upstream first, after each round of questions.
            patience_s: As for `wait`.

        Returns:
            Their statuses, upstream first.

        Raises:
            Unreachable: The coordinator was silent for too long.
            NotDone: There is no such group or topology.
        """
        names = self.members(name)
        while True:
            statuses = [self._status_once_it_answers(one, patience_s) for one in names]
            if progress is not None:
                progress(statuses)
            if all(one.summary.state.is_over for one in statuses):
                return statuses
            self._clock.sleep(every_s)

    def _status_once_it_answers(self, name: str, patience_s: float) -> Status:
        end = self._clock.monotonic() + patience_s
        while True:
            try:
                return self.status(name)
            except Unreachable:  # it may be restarted now
                if self._clock.monotonic() >= end:
                    raise

    # ---- questions -----------------------------------------------------------------------------------------------

    def list(self) -> Listing:
        """All topologies and workers."""
        return self._ask(ListAll(), (Listing,))

    def members(self, name: str) -> builtins.list[str]:
        """Names of the topologies of a group, upstream first; ``[name]`` when there is no such group."""
        found = sorted((one.place, one.name) for one in self.list().topologies if one.group == name)
        return [member for _, member in found] or [name]

    def status(self, name: str) -> Status:
        """How a topology stands."""
        return self._ask(AskStatus(name), (Status,))

    def letters(self, name: str) -> Iterator[Letter]:
        """All dead letters of a topology, oldest first."""
        first: int | None = 0
        while first is not None:
            part = self._ask(AskLetters(name, first), (LettersAre,))
            yield from part.letters
            first = part.next

    def log(self, name: str, *, role: str = "executor", index: int = 0, offset: int = -8192) -> LogText:
        """A part of the log of an executor or acker.

        Args:
            name: Of the topology.
            role: "executor" or "acker".
            index: Its number.
            offset: From where on; negative: that many bytes before the end.
        """
        answer = self._ask(AskLog(name, role, index, offset), (LogText,))
        if answer.error:
            raise NotDone(answer.error, kind="state")
        return answer

    # ---- items ---------------------------------------------------------------------------------------------------

    def push(self, name: str, item: object, *, key: str | None = None, producer: str = "") -> RemoteReceipt:
        """Push one item into a running topology; it is in the journal, synced, when this returns.

        Args:
            name: Of the topology, whose flow has a `Pusher`.
            item: Any value that travels.
            key: Idempotency key: under a known one the item isn't taken again; None: a new one.
            producer: Name of the Pusher, when there are several.

        Returns:
            Its receipt; `RemoteReceipt.wait` tells its outcome.

        Raises:
            NotDone: It has no Pusher, is paused, drains or is over, or the host with its journal is gone.
            CodecError: The item can't travel.
            TypeError: The key is no text.
            Unreachable: The coordinator doesn't answer. Whether the item was taken isn't known: push it again under
                the same key.
        """
        return self.push_all(name, [item], keys=None if key is None else [key], producer=producer)[0]

    def push_all(
        self, name: str, items: Sequence[object], *, keys: Sequence[str] | None = None, producer: str = ""
    ) -> builtins.list[RemoteReceipt]:
        """Push items, in order; see `push`. When it raises, the first of them may have been taken."""
        keys = [new_request() for _ in items] if keys is None else [checked_key(key) for key in keys]
        receipts: builtins.list[RemoteReceipt] = []
        for first, count, packed in parts_of(items):
            some = tuple(keys[first : first + count])
            pushed = self._ask_on(Push(name, packed, some, producer), Pushed)
            for seq, key in zip(pushed.seqs, some, strict=True):
                receipts.append(RemoteReceipt(name, pushed.producer, pushed.place, seq, key, self.wait_all))
        return receipts

    def wait_all(self, receipts: Sequence[RemoteReceipt], timeout: float | None = None) -> bool:
        """Wait until all items have their outcome; asks for many of them together.

        Args:
            receipts: Of items that were pushed; each knows its outcome afterwards.
            timeout: Seconds; None waits for ever, 0 asks once.

        Returns:
            False when some are still open after the time.

        Raises:
            NotDone: The topology is over, or has forgotten an item.
            Unreachable: The coordinator doesn't answer.
        """
        end = None if timeout is None else self._clock.monotonic() + timeout
        pause_s = FATE_FIRST_S
        while True:
            for topology, place, some in open_groups(receipts, ASKED_MAX):
                answer = self._ask_on(AskFates(topology, place, tuple(one.seq for one in some)), FatesAre)
                for receipt, fate in zip(some, answer.fates, strict=True):
                    if not fate.state:
                        message = f"topology {topology!r} has no item {receipt.seq} any more, or keeps no journal"
                        raise NotDone(message, kind="unknown")
                    receipt.take(fate)
            if not any(receipt.outcome == "open" for receipt in receipts):
                return True
            if end is not None and self._clock.monotonic() + pause_s > end:
                return False
            self._clock.sleep(pause_s)
            pause_s = min(FATE_LAST_S, pause_s * 1.5)

    # ---- commands ------------------------------------------------------------------------------------------------

    def pause(self, name: str) -> str:
        """Let its producers read no more; gives what happens now."""
        return self._ask(Pause(name), (Done,)).note

    def resume(self, name: str) -> str:
        """Let its producers read again."""
        return self._ask(Resume(name), (Done,)).note

    def drain(self, name: str, *, deadline_s: float = 300.0) -> str:
        """Finish what entered, then end."""
        return self._ask(Drain(name, deadline_s), (Done,)).note

    def kill(self, name: str) -> str:
        """End it now; what is unfinished stays in its journals."""
        return self._ask(Kill(name), (Done,)).note

    def rebalance(self, name: str, parallelism: Mapping[str, int] | None = None) -> str:
        """Spread it over the slots that there are now."""
        return self._ask(Rebalance(name, dict(parallelism or {})), (Done,)).note

    # ---- inside --------------------------------------------------------------------------------------------------

    def _ask_on(self, message: object, kind: type[T]) -> T:
        """Ask again while the answer is "not now", until the time is up; under one request, which is done once."""
        request = new_request()
        end = self._clock.monotonic() + self.timeout_s
        while True:
            try:
                return self._ask(message, (kind,), request)
            except NotDone as refused:
                if refused.is_final or self._clock.monotonic() + NOT_NOW_S > end:
                    raise
            self._clock.sleep(NOT_NOW_S)

    def _ask(self, message: object, kinds: tuple[type[T], ...], request: str = "") -> T:
        """Ask until an answer comes."""
        if self._is_closed:
            message = "this client is closed; ask inside of its `with`, or make another one"
            raise ClusterError(message)
        request = request or new_request()
        payload = pack(message, request)
        end = self._clock.monotonic() + self.timeout_s
        ask_at = 0.0
        reason = ""
        while (now := self._clock.monotonic()) < end:
            if now >= ask_at:
                ask_at = now + (ASK_AGAIN_S if self._control.send(payload) else 0.05)
            for news in self._control.poll(min(end, ask_at) - now):
                if isinstance(news, ConnectionFailed):
                    reason = news.reason
                    end = min(end, self._clock.monotonic() + 2 * ASK_AGAIN_S)  # it may be mended, but rarely is
                elif isinstance(news, Reply):
                    answer = self._read(news.payload, request, kinds)
                    if answer is not None:
                        return answer
        cure = "check that `consecution coordinator` runs there, the address, and the firewall"
        text = reason or f"no coordinator answered at {self.coordinator} within {self.timeout_s:g} s; {cure}"
        raise Unreachable(text)

    def _read(self, payload: bytes, request: str, kinds: tuple[type[T], ...]) -> T | None:
        """The answer to a request; None when it is one to another."""
        try:
            id_, answer = cast("tuple[str, object]", unpack(payload, TO_CLIENT))
        except OtherVersion as error:
            raise Unreachable(str(error)) from error
        except ProtocolError as error:
            message = f"{self.coordinator} answered what isn't an answer ({error}); install the same release on both"
            raise Unreachable(message) from error
        if id_ != request:
            if isinstance(answer, Refused) and not id_:
                raise NotDone(answer.reason, kind=answer.kind)
            return None
        if isinstance(answer, Refused):
            raise NotDone(answer.reason, kind=answer.kind, is_final=answer.is_final)
        if not isinstance(answer, kinds):
            message = f"{self.coordinator} answered with a {type(answer).__name__}; install the same release on both"
            raise Unreachable(message)
        return answer


def submit_of(
    flow: Flow, name: str, *, slots: int = 0, ackers: int = 0, fresh: bool = False, memory_bytes_max: int = 0
) -> Submit:
    """The message that submits a flow, under a submission of its own."""
    return Submit(
        submission=new_request(),
        name=name,
        flow=flow.place,
        bundle=BundleInfo(flow.bundle.sha256, len(flow.bundle.data)),
        settings=flow.settings,
        plan=flow.plan,
        fingerprint=flow.fingerprint,
        spec=flow.spec,
        slots=slots,
        ackers=ackers,
        is_fresh=fresh,
        memory_bytes_max=memory_bytes_max,
        python=python_version(),
    )


def _members_of(group: FlowGroup, name: str, slots: int, one_of: Callable[..., Submit]) -> Iterator[Submit]:
    """The messages of a group's members, upstream first; all under one submission."""
    submission = new_request()
    for place, flow in enumerate(group.members):
        yield dataclasses.replace(
            one_of(flow, f"{name}.{flow.name}", slots=min(slots, flow.plan.n_tasks)),
            submission=submission,
            group=name,
            place=place,
            links=tuple(dataclasses.replace(link, target=f"{name}.{link.target}") for link in flow.links),
        )


def python_version() -> str:
    """Such as "3.11"."""
    return ".".join(platform.python_version_tuple()[:2])


def check_address(address: str) -> str:
    """Give an address of a coordinator, with ``tcp://`` when it has no scheme.

    Raises:
        ClusterError: It is none.

    >>> check_address("10.0.0.1:7000")
    'tcp://10.0.0.1:7000'
    """
    full = address if "://" in address else f"tcp://{address}"
    scheme, _, rest = full.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isdecimal() and 0 < int(port) < 65536:
        return full
    message = f"{address!r} is no address of a coordinator; expected tcp://HOST:PORT, such as tcp://10.0.0.1:7000"
    raise ClusterError(message)
