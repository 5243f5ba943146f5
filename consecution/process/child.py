"""An executor or an acker, as its parent started it.

Rules of this module: the main thread owns links and user code; a second thread reads the channel to the parent, tells
that the process lives, and ends it when the parent is gone, whatever the main thread does. All words to the parent go
through the channel, which takes them from both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import platform
import sys
import threading
import time
import traceback
from collections import deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from consecution.errors import (
    CodecError,
    GraphError,
    UserCodeError,
)
from consecution.executor.causes import cause_of
from consecution.flow import load, parse_address
from consecution.graph import compare
from consecution.guarantee.ids import SEED_BYTES, id_maker
from consecution.local.collector import rarely_collected
from consecution.local.notices import NOBODY
from consecution.local.opening import Identity, OpenedIntake, open_intake
from consecution.local.restart import slot_name
from consecution.local.stores import DISK
from consecution.local.working import Watch
from consecution.options import fill_options
from consecution.plan.stages import plan_of
from consecution.process.acker import AckerProcess, stuck_links
from consecution.process.bridge.bridge import Bridge
from consecution.process.handing import Handing
from consecution.process.joint import Joint
from consecution.process.peer import Peer, failure_of
from consecution.process.words import broke_of, counts_of, letter_of, settings_of, stand_of
from consecution.transport.zeromq import Keys, ZmqTransport, new_keys
from consecution.version import VERSION
from consecution.waiting import wait_readable, wait_writable
from consecution.wire.codec import ItemNotPackable, pack_items
from consecution.wire.control import (
    STUCK_S,
    AskItems,
    Begin,
    Born,
    Collected,
    Down,
    FeedCounts,
    Letter,
    Placed,
    PushIn,
    Ready,
    Told,
)
from consecution.wire.placement import Phase, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.consecutor import Consecutor
    from consecution.executor.event_loop import VirtualTime
    from consecution.local.stores import Stores
    from consecution.process.channel import Channel
    from consecution.transport.base import Transport
    from consecution.wire.control import StuckLink
    from consecution.wire.placement import Placement

log = logging.getLogger(__name__)

TELL_EVERY_S = 0.25
WAIT_MAX_S = 0.25
LETTERS_MAX = 100
COLLECTED_MAX = 1000
COLLECTED_WAIT_S = 30.0


class Line(Protocol):
    """What an executor needs of the way to its parent; see `Control`."""

    has_drained: bool

    def take(self) -> Placement | None:
        """Give the newest placement that has come since the last call."""

    def say(self, value: object) -> None:
        """Tell the parent."""

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was said has gone."""


class Control:
    """The side of the channel: what the parent says, and the signs of life.

    Args:
        channel: To the parent.

    Attributes:
        is_loading: The flow is being imported: what is raised is the flow's.
        has_drained: A placement told to drain; what ends after it isn't finished.
    """

    def __init__(self, channel: Channel[Down]) -> None:
        self._channel = channel
        self._came: deque[Down] = deque()
        self._asked: list[PushIn | AskItems] = []
        self._wake: list[ZmqTransport] = []
        self.has_drained = False
        self.is_loading = False
        self._watch: Watch | None = None
        self._last = Told(0)
        self._told_at = 0.0
        self._thread = threading.Thread(target=self._loop, name="consecution-control", daemon=True)

    def first(self) -> Begin:
        """Wait for the first word."""
        while True:
            wait_readable([self._channel], None)
            for message in self._channel.receive():
                assert isinstance(message, Begin), "the first word to a child is Begin"
                return message
            if self._channel.is_closed:
                sys.exit(1)

    def start(self, transport: ZmqTransport, watch: Watch | None) -> None:
        """Listen from a thread of its own."""
        self._wake.append(transport)
        self._watch = watch
        self._thread.start()

    def take(self) -> Placement | None:
        """Give the newest placement that has come since the last call."""
        newest: Placement | None = None
        while self._came:
            message = self._came.popleft()
            if isinstance(message, Placed):
                newest = message.placement
                self.has_drained = self.has_drained or newest.phase is Phase.DRAINING
            elif isinstance(message, (PushIn, AskItems)):
                self._asked.append(message)
        return newest

    def questions(self) -> list[PushIn | AskItems]:
        """Give what clients want of this process's producers, since the last call."""
        asked, self._asked = self._asked, []
        return asked

    def say(self, value: object) -> None:
        """Tell the parent."""
        self._channel.send(value)
        if isinstance(value, Told):
            self._last = dataclasses.replace(value, letters=())
            self._told_at = time.monotonic()

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was said has gone."""
        end = time.monotonic() + timeout_s
        while not self._channel.flush() and time.monotonic() < end:
            wait_writable(self._channel, 0.05)

    def _loop(self) -> None:
        while True:
            wait_readable([self._channel], TELL_EVERY_S)
            for message in self._channel.receive():
                self._came.append(message)
                for transport in self._wake:
                    transport.wake()
            if self._channel.is_closed:
                os._exit(1)  # the parent is gone: nobody waits for what is in work here
            oldest_s = 0.0 if self._watch is None else self._watch.oldest_s()
            late_s = time.monotonic() - self._told_at
            if late_s > 2 * TELL_EVERY_S:
                self._channel.send(dataclasses.replace(self._last, oldest_s=oldest_s, late_s=late_s))
            self._channel.flush()


def run_child(channel: Channel[Down]) -> int:
    """Be what the parent says; gives the exit code."""
    control = Control(channel)
    begin = control.first()
    try:
        if begin.output is not None:
            _write_to(begin.output)
        if begin.role is Role.ACKER:
            _log_to_stderr(begin)
            return _run_acker(begin, control)
        return _run_executor(begin, control)
    except BaseException as error:
        control.say(broke_of(error, is_loading=control.is_loading))
        control.flush(5.0)
        if begin.output is not None:  # it is the worker's log; else the caller raises it
            traceback.print_exc()
        return 1


def _write_to(path: str) -> None:
    """Let stdout and stderr go to a file."""
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)


def _log_to_stderr(begin: Begin) -> None:
    """Log as the flow has set it up, or to stderr."""
    level = logging.INFO if begin.output is not None else logging.WARNING  # in a terminal only what a human may act on
    logging.basicConfig(level=level, format=f"%(asctime)s {begin.role.value}-{begin.index} %(message)s")


def _keys(begin: Begin) -> Keys | None:
    """A pair for this process alone; it has no key of the control plane."""
    return new_keys() if begin.is_encrypted else None


def _transport(begin: Begin, incarnation: int, keys: Keys | None) -> ZmqTransport:
    return ZmqTransport(incarnation, begin.bind, keys=keys, insecure=begin.is_insecure)


def _born(transport: ZmqTransport, incarnation: int, keys: Keys | None, bridge: str = "") -> Born:
    python = ".".join(platform.python_version_tuple()[:2])
    key = None if keys is None else keys.public
    return Born(incarnation, transport.address, os.getpid(), VERSION, python, key, bridge)


def _run_acker(begin: Begin, control: Control) -> int:
    incarnation = id_maker(os.urandom(SEED_BYTES))()
    keys = _keys(begin)
    with _transport(begin, incarnation, keys) as transport:
        acker = AckerProcess(transport, timeout_s=begin.settings.timeout_s)
        control.start(transport, None)
        control.say(_born(transport, incarnation, keys))
        with rarely_collected():
            _run_ledger(acker, control)
        if acker.has_ended:
            control.say(acker.told())  # what its audit found is counted, however late
        acker.end()
    control.flush(1.0)
    return 0


def _run_ledger(acker: AckerProcess, control: Control) -> None:
    told_at = 0.0
    while not acker.is_over:
        acker.turn(WAIT_MAX_S)
        placement = control.take()
        if placement is not None:
            acker.place(placement)
            control.say(Ready(placement.number))
        if time.monotonic() - told_at >= TELL_EVERY_S:
            told_at = time.monotonic()
            control.say(acker.told())


def _run_executor(begin: Begin, control: Control) -> int:
    new_id = id_maker(os.urandom(SEED_BYTES))
    incarnation = new_id()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # what was printed before a kill is seen
    control.is_loading = True
    consecutor = _load(begin)
    control.is_loading = False
    _log_to_stderr(begin)
    keys = _keys(begin)
    with _transport(begin, incarnation, keys) as transport, contextlib.ExitStack() as stack:
        joint: Joint | None = None
        bridge = _bridge(begin, consecutor, incarnation, keys)
        if bridge is not None:
            joint = Joint(consecutor, bridge, transport.wake)
            stack.callback(joint.close)
            bridge.start()
        executor = Executor(begin, consecutor, transport, control, new_id, asked=control.questions, joint=joint)
        control.start(transport, Watch(executor.peer.working))
        control.say(_born(transport, incarnation, keys, "" if bridge is None else bridge.address))
        try:
            with rarely_collected():
                executor.run()
        finally:
            executor.close()
    control.flush(5.0)
    return 0


def _bridge(begin: Begin, consecutor: Consecutor, incarnation: int, keys: Keys | None) -> Bridge | None:
    """The way to joined topologies; None on one machine, where the calling process joins them."""
    if not begin.is_joined:
        return None
    return Bridge(incarnation, begin.bind, len(consecutor.links), keys=keys, insecure=begin.is_insecure)


def _load(begin: Begin) -> Consecutor:
    """Import the flow, and compare it with what the parent has."""
    from consecution.consecutor import Consecutor

    assert begin.flow is not None
    flow = begin.flow
    os.chdir(flow.folder)
    paths = flow.paths or (flow.folder,)
    sys.path[:] = [*paths, *(path for path in sys.path if path not in paths)]
    sys.argv[:] = list(flow.argv) or sys.argv
    fill_options(flow.options)
    consecutor = load(parse_address(flow.address), Consecutor, lambda one: one.group, as_main=True)
    consecutor = next((one for one in consecutor.group if one.name == flow.consecutor), consecutor)
    if consecutor.run_dag.fingerprint != begin.fingerprint:
        message = (
            f"{flow.address} gave another graph here than where it was started: {_difference(begin, consecutor)}; "
            "usual causes are the order of a set, random numbers, the time or the environment, looked at while the "
            "flow is imported"
        )
        raise GraphError(message)
    return consecutor


def _difference(begin: Begin, consecutor: Consecutor) -> str:
    if begin.spec is None:
        return f"fingerprint {consecutor.run_dag.fingerprint}, expected {begin.fingerprint}"
    return compare(begin.spec, consecutor.run_dag.spec()) or "the graphs look alike"


class Executor:
    """The main loop of an executor.

    Args:
        begin: What the parent said first.
        consecutor: The flow's.
        transport: Its links.
        control: To and from the parent.
        new_id: Gives ids.
        stores: Where its journal and its crash slot are kept.
        now: Gives monotonic seconds.
        pid: Its process id; None: asks the system.
        asked: Gives what clients want of its producers, since the last call.
        joint: What joins it to other topologies; None when nothing does.
        virtual: The time that awaited code goes by; None: the real one.
    """

    def __init__(
        self,
        begin: Begin,
        consecutor: Consecutor,
        transport: Transport,
        control: Line,
        new_id: Callable[[], int],
        *,
        stores: Stores = DISK,
        now: Callable[[], float] = time.monotonic,
        pid: int | None = None,
        asked: Callable[[], Sequence[PushIn | AskItems]] = tuple,
        joint: Joint | None = None,
        virtual: VirtualTime | None = None,
    ) -> None:
        self._asked = asked
        self._joint = joint
        self._stores = stores
        self._now = now
        self._begin = begin
        self._consecutor = consecutor
        self._transport = transport
        self._control = control
        self._new_id = new_id
        self._settings = settings_of(begin)
        self._feeds = consecutor.feeds
        entries = begin.feeds if begin.feeds else tuple(entries for _, entries in self._feeds)
        plan = plan_of(consecutor.run_dag, entries)
        self._slot_name = slot_name(begin.index, os.getpid() if pid is None else pid)
        self._slot = None if begin.in_work is None else stores.slot(Path(begin.in_work), self._slot_name)
        self.peer = Peer(
            consecutor.run_dag,
            plan,
            self._settings,
            transport,
            new_id=new_id,
            n_ackers=begin.n_ackers,
            slot=self._slot,
            now=now,
            doors=None if joint is None else joint.doors(plan),
            audience=NOBODY if joint is None else joint.audience,
            virtual=virtual,
        )
        self._opened: OpenedIntake | None = None
        self._handing = Handing(self.peer)
        self._told_at = 0.0
        self._letters_told = 0
        self._ends: tuple[frozenset[int], bool] = (frozenset(), False)

    def run(self) -> None:
        """Work until a placement says that it is over.

        Raises:
            UserCodeError: A setup raised.
        """
        try:
            while not self.is_over:
                self.step()
                if self.peer.is_quiet:
                    self._wait()
        finally:
            self.peer.teardown()
        self.end()

    @property
    def is_over(self) -> bool:
        """Whether a placement has said that it must exit."""
        placement = self.peer.placement
        return self.peer.is_left_out or (placement is not None and placement.phase is Phase.ENDED)

    def step(self) -> bool:
        """Take a placement that has come, and work a little; False when there was nothing to do.

        Raises:
            UserCodeError: A setup raised.
        """
        placement = self._control.take()
        if placement is not None:
            self._place(placement)
        if self.is_over:
            return True
        if self._joint is not None:
            self._joint.check()
        for asked in self._asked():
            self._handing.hear(asked)
        did = self.peer.turn()
        for answer in self._handing.answers():
            self._control.say(answer)
        if (paused := self.peer.advance()) is not None:
            self._control.say(paused)
        if self._now() - self._told_at >= TELL_EVERY_S or (self.peer.is_quiet and self._has_ended_more()):
            self.tell()
        return did

    def end(self) -> None:
        """Tell the last words, when all nodes are torn down."""
        if not self.peer.is_left_out:
            self._tell_collected()
        if self.peer.intake is not None:
            self.peer.intake.commit(self._now(), force=True)
            self.peer.intake.close()  # what that raises is told
        if self._joint is not None:
            self._joint.flush()
        self.tell()
        while self._has_letters:
            self.tell()

    def _has_ended_more(self) -> bool:
        """Whether something ended that the parent waits for; told at once."""
        intake = self.peer.intake
        ends = (self._tasks_ended(), intake is None or (intake.is_idle and intake.is_at_end))
        had, self._ends = self._ends, ends
        return ends != had

    def _tasks_ended(self) -> frozenset[int]:
        ended = self.peer.tasks_ended
        return ended if self._joint is None else ended - self._joint.kept_open(ended, self._now())

    def _place(self, placement: Placement) -> None:
        peer = self.peer
        me = placement.member(self._transport.incarnation)
        peer.place(placement)
        if me is not None and me.feeds and self._opened is None:
            self._open_feeds()
        if self._joint is not None:
            self._joint.place(placement)
        self._control.say(Ready(placement.number))

    def _open_feeds(self) -> None:
        journal = None if self._begin.journal is None else Path(self._begin.journal)
        peer = self.peer
        self._opened = open_intake(
            self._consecutor.run_dag,
            peer.plan,
            self._feeds,
            dataclasses.replace(self._settings, journal=journal),
            identity=Identity(self._new_id, lambda: self._transport.incarnation, peer.roots_of),
            incarnation_of=peer.owner,
            link=peer,
            start_fresh=self._begin.is_fresh,
            keeps_slots=True,
            stands={start.name: stand_of(start) for start in self._begin.starts},
            stores=self._stores,
            audience=NOBODY if self._joint is None else self._joint.audience,
            is_careful=peer.placement is not None and peer.placement.is_careful,
            deaths=() if peer.placement is None else peer.placement.deaths,
        )
        self._opened.begin()
        peer.take_intake(self._opened.intake)
        if self._joint is not None:
            self._joint.opened(self._opened)
        self._letters_told = -len(self._opened.intake.tally.failures)  # those of before a restart are told too

    def _wait(self) -> None:
        now = self._now()
        self.peer.wait(min(self.peer.due(now), now + WAIT_MAX_S) - now)

    def tell(self) -> None:
        """Tell the parent how it stands."""
        self._told_at = self._now()
        self._control.say(self.told())

    def told(self) -> Told:
        """How it stands."""
        peer, intake = self.peer, self.peer.intake
        letters: tuple[Letter, ...]
        feeds: tuple[FeedCounts, ...] = ()
        failures = 0
        if intake is not None:
            tally = intake.tally
            waiting = min(tally.told - self._letters_told, len(tally.failures))
            first = len(tally.failures) - waiting
            newest = islice(tally.failures, first, first + LETTERS_MAX)
            letters = tuple(map(letter_of, newest))
            self._letters_told = tally.told - waiting + len(letters)
            feeds = tuple(counts_of(intake))
            failures = tally.node_failures
        else:
            letters = tuple(letter_of(failure_of(failed)) for failed in peer.take_failures())
        return Told(
            number=0 if peer.placement is None else peer.placement.number,
            feeds=feeds,
            tasks_ended=tuple(sorted(self._tasks_ended())),
            letters=letters,
            node_failures=failures,
            state_lost=peer.state_lost if intake is None else intake.tally.state_lost,
            items_done=peer.items_done,
            queued=peer.core.queued_items,
            refused=peer.refused,
            oldest_s=peer.working.awaited_s(self._now()),
            source_error=None if intake is None or intake.error is None else str(intake.error),
            source_is_code=intake is not None and isinstance(intake.error, UserCodeError),
            source_trace="" if intake is None else _trace_of(intake.error),
            stuck=self._stuck(),
            outputs_dropped=0 if self._joint is None else self._joint.dropped,
            is_doubled=self._joint is not None and self._joint.is_doubled,
        )

    def _stuck(self) -> tuple[StuckLink, ...]:
        unanswered = self._transport.unanswered(STUCK_S)
        if self._joint is not None:
            unanswered += self._joint.unanswered(STUCK_S)
        return stuck_links(unanswered)

    @property
    def _has_letters(self) -> bool:
        intake = self.peer.intake
        return intake is not None and intake.tally.told > self._letters_told

    def _tell_collected(self) -> None:
        for task, runner in self.peer.runners.items():
            for name, items in runner.collected().items():
                self._tell_items(task, name, items)

    def _tell_items(self, task: int, name: str, items: list[Any]) -> None:
        size = COLLECTED_MAX
        start = 0
        while start < max(1, len(items)):
            part = items[start : start + size]
            try:
                packed = pack_items(part)
            except CodecError as error:
                if not isinstance(error, ItemNotPackable) and len(part) > 1:  # all together are too large
                    size = max(1, len(part) // 2)
                    continue
                message = (
                    f"node {name!r} collected what can't travel to the calling process: {error}; collect plain values, "
                    "or write them with a sink"
                )
                raise UserCodeError(message, node=name) from error
            self._control.say(Collected(task, {name: packed}))
            self._control.flush(COLLECTED_WAIT_S)
            start += len(part) or 1

    def close(self) -> None:
        """Close journal and slot; the slot's file is removed: the process ends in good order."""
        if self._opened is not None:
            if self._is_given_up:
                self._opened.abandon()
            else:
                self._opened.close(is_finished=self._may_release())
        if self._slot is not None:
            self._slot.close()
        if self._begin.in_work is not None:
            self._stores.remove_slot(Path(self._begin.in_work), self._slot_name)

    @property
    def _is_given_up(self) -> bool:
        """Whether the pass was given up for a death: the next one's start asks which items that had in work (R15)."""
        placement = self.peer.placement
        return self.peer.is_left_out and placement is not None and placement.phase is Phase.STARTING

    def _may_release(self) -> bool:
        """Whether the journal has nothing to go on with: a run that was killed lists nobody, however near its end."""
        peer, placement = self.peer, self.peer.placement
        if placement is None or placement.phase is not Phase.ENDED or placement.keeps_journal:
            return False
        is_listed = placement.member(self._transport.incarnation) is not None and not peer.is_left_out
        return is_listed and peer.has_sent_end and not self._control.has_drained


def _trace_of(error: BaseException | None) -> str:
    """Where a producer's code raised; empty when it wasn't code of a user."""
    if not isinstance(error, UserCodeError) or error.__cause__ is None:
        return ""
    return cause_of(error.node or "", error.__cause__, None).traceback
