"""One virtual process: the real executor or acker on virtual time, links and disk, and the ways in which it dies.

Rules of this module: a turn of a process takes no virtual time by itself; what its user code spends, and a little for
each turn, passes afterwards. A process dies between two turns, or in the middle of one, at a `point`: where it writes
to its journal, gives a packet to the network, or calls user code. Then `Killed` is raised through all of its code,
which must not catch it; its crash slot is frozen before.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING, cast

from consecution.errors import ConsecutionError, Unwinding
from consecution.executor.event_loop import VirtualTime
from consecution.guarantee.ids import id_maker
from consecution.process.acker import AckerProcess
from consecution.process.child import TELL_EVERY_S, WAIT_MAX_S, Executor
from consecution.process.words import broke_of
from consecution.producers.pusher import Pusher
from consecution.testing.sim.network import SimTransport
from consecution.wire.control import UP, Born, Ready, Told
from consecution.wire.placement import Phase, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.consecutor import Consecutor
    from consecution.process.peer import Peer
    from consecution.testing.sim.disk import SimDisk, SimSlot
    from consecution.testing.sim.network import SimNetwork, TransportWatch
    from consecution.testing.sim.timeline import Timeline
    from consecution.transport.link import LinkLimits
    from consecution.wire.control import AskItems, Begin, PushIn, Up
    from consecution.wire.placement import Placement

LIBRARY = "sim"
LOOK_S = 0.0005
NEVER = float("inf")
ROUNDING_S = 1e-6
EPOCH_S = 1e9
"""Seconds since 1970 at which all runs begin."""
SIGSEGV = -11


class Killed(Unwinding):
    """The process in which this is raised is dead."""


class SimLine:
    """A process's way to its parent: a pipe, which loses nothing and keeps order.

    Args:
        say: Called with each word.
    """

    def __init__(self, say: Callable[[object], None]) -> None:
        self.has_drained = False
        self._say = say
        self._came: deque[Placement] = deque()
        self._asked: list[PushIn | AskItems] = []

    def give(self, placement: Placement) -> None:
        """The parent gives a placement."""
        self._came.append(placement)

    def ask(self, message: PushIn | AskItems) -> None:
        """The parent carries a client's word."""
        self._asked.append(message)

    def questions(self) -> list[PushIn | AskItems]:
        """See `Control.questions`."""
        asked, self._asked = self._asked, []
        return asked

    def take(self) -> Placement | None:
        """See `Line.take`."""
        newest: Placement | None = None
        while self._came:
            newest = self._came.popleft()
            self.has_drained = self.has_drained or newest.phase is Phase.DRAINING
        return newest

    def say(self, value: object) -> None:
        """See `Line.say`."""
        self._say(value)

    def flush(self, timeout_s: float) -> None:
        """See `Line.flush`."""


class SimClock:
    """What producers know of time.

    Args:
        process: Whose they are.
    """

    def __init__(self, process: SimProcess) -> None:
        self._process = process

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._process.clock()

    def time(self) -> float:
        """See `Clock.time`."""
        return EPOCH_S + self._process.departs()

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        self._process.spend(max(0.0, seconds))


class SimHost:
    """A machine.

    Args:
        name: Its.
        disk: Its.
        clock_s: What its monotonic clock shows at the beginning; only differences matter.

    Attributes:
        clock_s: Added to virtual time; grows when the machine's clock jumps.
    """

    def __init__(self, name: str, disk: SimDisk, clock_s: float) -> None:
        self.name = name
        self.disk = disk
        self.clock_s = clock_s


class SimProcess:
    """One start of an executor or acker.

    Args:
        name: For people and for its address, such as ``executor-0.2``.
        host: Where it runs.
        begin: What its parent said first.
        pid: Unique in the run.
        seed: What its ids and its pace depend on.
        timeline: Virtual time.
        network: Where its packets go.
        limits: Of its links.
        load: Gives the flow, as an import would.
        watch: Of its links.
        say: Called with each word to its parent.
        around: Called before each turn, and with None after it.
        on_death: Called when it has ended, with its exit code.

    Attributes:
        incarnation: Its 64 random bits.
        is_alive: It has not ended.
        executor: None in an acker, and before it is born.
        acker: None in an executor, and before it is born.
        slots: Its crash slot.
    """

    def __init__(
        self,
        name: str,
        host: SimHost,
        begin: Begin,
        pid: int,
        seed: str,
        *,
        timeline: Timeline,
        network: SimNetwork,
        limits: LinkLimits,
        load: Callable[[], Consecutor],
        watch: TransportWatch,
        say: Callable[[SimProcess, Up], None],
        around: Callable[[SimProcess | None], None],
        on_death: Callable[[SimProcess, int], None],
    ) -> None:
        self.name = name
        self.host = host
        self.begin = begin
        self.pid = pid
        self.random = Random(f"{seed}/pace")
        self.new_id = id_maker(f"{seed}/ids".encode())
        self.incarnation = self.new_id()
        self.line = SimLine(self._says)
        self.is_alive = True
        self.executor: Executor | None = None
        self.acker: AckerProcess | None = None
        self.transport: SimTransport | None = None
        self.slots: list[SimSlot] = []
        self.paused_until = 0.0
        self._timeline = timeline
        self._network = network
        self._limits = limits
        self._load = load
        self._watch = watch
        self._say = say
        self._around = around
        self._on_death = on_death
        self._pushers: list[Pusher] = []
        self._spent_s = 0.0
        self._busy_until = 0.0
        self._wake_at: float | None = None
        self._wakes = 0
        self._dies_in = 0
        self._code = SIGSEGV
        self._told_at = 0.0
        self._is_in_turn = False
        self._has_news = False  # something has come since its last turn
        self._looks = False  # see `_looks_at`
        self._idle_until = 0.0  # by its own clock: before that a turn does nothing, unless something comes
        self.is_checked = False

    # ---- time ----------------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """Monotonic seconds, as this process sees them."""
        return self._timeline.now + self._spent_s + self.host.clock_s

    def departs(self) -> float:
        """Virtual time at which what it sends now leaves."""
        return self._timeline.now + self._spent_s

    def spend(self, seconds: float) -> None:
        """User code takes time."""
        self._spent_s += seconds

    # ---- death ---------------------------------------------------------------------------------------------------

    def point(self) -> None:
        """A place at which it may be killed."""
        if self._dies_in:
            self._dies_in -= 1
            if not self._dies_in:
                self.crash()

    def crash(self) -> None:
        """Die here and now.

        Raises:
            Killed: Always.
        """
        for slot in self.slots:
            slot.is_dead = True
        raise Killed

    def exits(self, code: int) -> None:
        """Die here and now, as by ``os._exit``; 0 is taken for a crash, since an orderly end is told otherwise.

        Raises:
            Killed: Always.
        """
        self._code = code or SIGSEGV
        self.crash()

    def dies_after(self, points: int) -> None:
        """Let it be killed when it has passed so many points."""
        self._dies_in = points

    def kill(self, code: int = -9) -> None:
        """Kill it between two turns."""
        if not self.is_alive:
            return
        self.is_alive = False
        for slot in self.slots:
            slot.is_dead = True
        if self.transport is not None:
            self._network.unbind(self.transport.address, loses=code != 0)
        self._on_death(self, code)
        if code:
            self.abandon()

    def abandon(self) -> None:
        """Let go of what its code awaits: it will never go on."""
        if self.executor is not None:
            self.executor.peer.abandon()
        for pusher in self._pushers:
            pusher.close()  # its pipe is a real one

    def pause(self, until: float) -> None:
        """Stop it, as SIGSTOP does."""
        self.paused_until = max(self.paused_until, until)
        if self.transport is not None:
            self._plan(self.paused_until)

    def resume(self) -> None:
        """Let it go on, as SIGCONT does."""
        self.paused_until = 0.0
        self.wake()

    # ---- life ----------------------------------------------------------------------------------------------------

    def bear(self) -> None:
        """Load the flow, bind the socket, and say so."""
        if not self.is_alive:
            return
        address = self._network.free_address(f"sim://{self.host.name}/{self.name.partition('.')[0]}")
        self.transport = SimTransport(
            self._network,
            self.incarnation,
            address,
            limits=self._limits,
            clock=self.clock,
            departs=self.departs,
            watch=self._watch,
            wake=self.wake,
            point=self.point,
        )
        settings = self.begin.settings
        if self.begin.role is Role.ACKER:
            self.acker = AckerProcess(self.transport, timeout_s=settings.timeout_s, now=self.clock)
        else:
            stores = self.host.disk.stores(self.point)
            consecutor = self._load()
            for producer, _ in consecutor.feeds:
                producer.tell_time_by(SimClock(self))
                if isinstance(producer, Pusher):
                    self._pushers.append(producer)
            self.executor = Executor(
                self.begin,
                consecutor,
                self.transport,
                self.line,
                self.new_id,
                stores=stores,
                now=self.clock,
                pid=self.pid,
                asked=self.line.questions,
                virtual=VirtualTime(self.clock, self.spend),
            )
            self.slots = stores.slots_made
        self.line.say(Born(self.incarnation, address, self.pid, LIBRARY, "3.11"))
        self._plan(self._timeline.now)

    def give(self, placement: Placement) -> None:
        """Its parent gives it a placement."""
        if self.is_alive:
            self.line.give(placement)
            self.wake()

    def ask(self, message: PushIn | AskItems) -> None:
        """Its parent carries a client's word to it."""
        if self.is_alive:
            self.line.ask(message)
            self.wake()

    def wake(self) -> None:
        """Something has come for it."""
        self._has_news = True
        if self.is_alive and not self._is_in_turn and self.transport is not None:
            self._plan(self._timeline.now)

    def _plan(self, when: float) -> None:
        when = max(when, self.paused_until, self._busy_until)
        if self._wake_at is not None and self._wake_at <= when:
            return
        self._wake_at = when
        self._wakes += 1
        wake = self._wakes
        self._timeline.at(when, lambda: self._turn(wake))

    def _turn(self, wake: int) -> None:
        if wake != self._wakes or not self.is_alive:
            return
        self._wake_at = None
        if self._timeline.now < self.paused_until:
            self._plan(self.paused_until)
            return
        if not self._has_news and self.clock() < self._idle_until:
            is_time_to_tell = self.clock() - self._told_at >= TELL_EVERY_S
            if is_time_to_tell or self._looks:
                self._idle(tells=is_time_to_tell)
                return
        did, is_over = False, False
        self._is_in_turn = True
        self._has_news = self.is_checked = False
        self._idle_until = 0.0
        self._looks = False
        self._spent_s = 0.0
        code: int | None = None
        self._around(self)
        try:
            did, is_over = self._work()
        except Killed:
            code = self._code
        except ConsecutionError as error:
            if self.executor is not None:
                self.executor.peer.teardown()
            self.line.say(broke_of(error, is_loading=False))
            code = 1
        finally:
            self._is_in_turn = False
        if code is not None:
            self.kill(code)
        self._around(None)
        if is_over:
            self.kill(0)
        if code is None and not is_over:
            self._rest(did=did)

    def _rest(self, *, did: bool) -> None:
        """Plan the next turn."""
        took_s = self._spent_s + (self.random.uniform(0.0001, 0.002) if did else 0.0)
        self._spent_s = 0.0
        self._busy_until = self._timeline.now + took_s
        if did:
            self._plan(self._busy_until)
        else:
            self._plan(self._next(has_told=self._told_at == self.clock()))

    def _idle(self, *, tells: bool) -> None:
        """Take a turn in which nothing can happen, because nothing has come and nothing is due."""
        self._around(self)
        if tells:
            if self.executor is not None:
                self.executor.tell()
            elif self.acker is not None:
                self.line.say(self.acker.told())
        self._around(None)
        self._plan(self._next(has_told=tells))

    def _next(self, *, has_told: bool) -> float:
        """When it must run though nothing comes; notes until when it has nothing to do.

        Args:
            has_told: It has told its parent how it stands just now, so it has not looked for what has ended.
        """
        assert self.transport is not None
        now = self.clock()
        due = self.transport.due
        at = now + WAIT_MAX_S
        if self.acker is not None:
            self._idle_until = min(due, self.acker.due) - ROUNDING_S
            at = min(at, due)
        elif self.executor is not None:
            peer = self.executor.peer
            due = min(due, peer.due(now))
            looks_at = _looks_at(peer, now)
            at = min(at, due, looks_at)
            self._looks = looks_at <= now and _has_no_flush(peer) and not has_told
            is_idle = (self._looks or looks_at > now) and not _waits_for_time(peer)
            self._idle_until = due - ROUNDING_S if is_idle else 0.0
        return max(self._timeline.now + LOOK_S, at - self.host.clock_s)

    def _work(self) -> tuple[bool, bool]:
        """Work a turn; gives whether it did something, and whether it has ended."""
        if self.acker is not None:
            return self._work_as_acker(self.acker)
        executor = self.executor
        assert executor is not None
        did = executor.step()
        if not executor.is_over:
            return did or not executor.peer.is_quiet, False
        executor.peer.teardown()
        executor.end()
        executor.close()
        return did, True

    def _work_as_acker(self, acker: AckerProcess) -> tuple[bool, bool]:
        acker.turn(0.0)
        placement = self.line.take()
        if placement is not None:
            acker.place(placement)
            self.line.say(Ready(placement.number))
        now = self.clock()
        if now - self._told_at >= TELL_EVERY_S or (acker.is_over and acker.has_ended):
            self.line.say(acker.told())
        return placement is not None, acker.is_over

    def _says(self, value: object) -> None:
        assert isinstance(value, UP), value
        if isinstance(value, Told):
            self._told_at = self.clock()
        self._say(self, cast("Up", value))


def _looks_at(peer: Peer, now: float) -> float:
    """When an executor looks for what its producers have, while only another phase will let it go.

    Once they did so all the time. They wait now, but virtual ones still take their turns, so that a seed's run stays
    what it was.
    """
    intake, placement = peer.intake, peer.placement
    if intake is None or placement is None or not (placement.phase is Phase.STARTING or placement.is_moving):
        return NEVER
    times, _ = intake.wait_for(now, reads=False, sends=peer.is_open and not peer.has_sent_end)
    return min(times, default=NEVER)


def _waits_for_time(peer: Peer) -> bool:
    """Whether it may do more in its next turn though nothing comes and nothing is due."""
    intake, placement = peer.intake, peer.placement
    if intake is None or placement is None:
        return False
    may_read = placement.phase is Phase.RUNNING and any(feed.may_read for feed in intake.feeds)
    return may_read or not intake.has_space


def _has_no_flush(peer: Peer) -> bool:
    """Whether no flush mark may become due."""
    assert peer.intake is not None
    return peer.core.is_quiet and not any(feed.window.is_out for feed in peer.intake.feeds)
