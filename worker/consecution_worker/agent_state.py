"""The agent of a host as a pure core: what is wanted here, what runs here, and what the coordinator must hear.

Rules of this module: no clock, socket, process or file; `AgentState.handle` takes an event and gives instructions.

1. The agent decides nothing about the cluster. It starts what `Wanted` names and doesn't run, ends what runs and isn't
   named, and starts nothing twice under one id. A new start of an executor waits for the end of the one that isn't
   wanted any more: they may share a journal.
2. What happened is told as state, again and again: the newest of each child, and exits and dead letters until they
   are confirmed. So a heartbeat may be lost, and a coordinator may be restarted, without a word being missed.
3. A silent coordinator changes nothing here: children go on (R5). Placements fence them, not the agent.
4. A placement goes to a child only from the first one on that lists it, in rising numbers.
5. When the agent itself didn't run for a while, all of its deadlines begin again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consecution.guarantee.crashes import tells_of_items
from consecution.wire.cluster.from_worker import AskPlacement, ChildExit, ChildPhase, Heartbeat, HostFigures, Register
from consecution.wire.cluster.to_worker import (
    STOP_S,
    BundleChunk,
    FetchLog,
    ForChild,
    Heard,
    NumbersNews,
    PlacementIs,
    PlacementNews,
    RegisterAgain,
    Registered,
    Wanted,
)
from consecution.wire.control import Born, Broke, ItemsAre, PausedAt, PushedIn, Ready, Told
from consecution.wire.placement import Phase
from consecution_worker import ends
from consecution_worker.child import Child
from consecution_worker.events import (
    AgentEvent,
    AgentInstruction,
    AnswerLog,
    Came,
    Carry,
    ChildExited,
    ChildMute,
    ChildNotStarted,
    ChildSaid,
    ChildStarted,
    CodeFailed,
    CodeMissing,
    CodeUnpacked,
    DumpStack,
    Exit,
    KillChild,
    Leave,
    LeaveWord,
    Looked,
    NewsCame,
    Note,
    NotSent,
    Relay,
    RemoveCode,
    RemoveJournal,
    Send,
    StartChild,
    Tick,
)
from consecution_worker.fetches import Fetches
from consecution_worker.outbox import Outbox
from consecution_worker.placements import PlacementBook
from consecution_worker.session import Session

if TYPE_CHECKING:
    from consecution.wire.cluster.from_worker import ChildId, ChildState
    from consecution.wire.cluster.parcel import Refused
    from consecution.wire.cluster.to_worker import ChildOrder, ToWorker
    from consecution.wire.control import Up
    from consecution.wire.placement import Placement
    from consecution_worker.config import Limits

SLEPT_S = 2.0


@dataclass(frozen=True, slots=True)
class Host:
    """Who this worker is.

    Attributes:
        name: Of the worker.
        identity: Random, kept in its folder.
        session: Random, of this start.
        slots: Executors that it takes.
        address: Under which other hosts reach its children.
        hostname: For people.
        library: Version of this library.
        python: Such as "3.11".
        process: Operating system's id.
        memory_bytes_max: Of one executor; 0 for no limit.
    """

    name: str
    identity: str
    session: str
    slots: int
    address: str
    hostname: str
    library: str
    python: str
    process: int = 0
    memory_bytes_max: int = 0


class AgentState:
    """The agent without its hands. Owned by one thread.

    Args:
        host: Who it is.
        limits: Its bounds and times.
        figures: Of the host, at the start.
        now: Monotonic seconds.

    Attributes:
        is_leaving: It was asked to end.
        is_over: It has given `Exit`.
    """

    def __init__(self, host: Host, limits: Limits, figures: HostFigures, now: float) -> None:
        self._host = host
        self._limits = limits
        self._figures = figures
        self._children: dict[ChildId, Child] = {}
        self._ended: set[ChildId] = set()  # ids that are used up, as long as an order may still name them
        self._fetches = Fetches(limits.fetch_again_s, limits.bundle_bytes_max)
        self._placements = PlacementBook(limits.silence_s)
        self._outbox = Outbox()
        self._wanted: Wanted | None = None
        self._wanted_number = 0
        self._session = Session(f"{host.name!r} with {host.slots} slots", limits, now)
        self._heartbeats = 0
        self._now = now
        self._leave_at = math.inf
        self.is_leaving = False
        self.is_over = False

    # ---- entry -------------------------------------------------------------------------------------------------------

    def handle(self, event: AgentEvent, now: float) -> list[AgentInstruction]:
        """Apply one event.

        Args:
            event: What happened.
            now: Monotonic seconds; only differences matter.

        Returns:
            What the shell must do, in order.
        """
        if self.is_over:
            return []
        self._wake(now)
        if isinstance(event, Tick):
            return self._tick(now)
        if isinstance(event, Came):
            return self._came(event.message, event.request, now)
        if isinstance(event, ChildSaid):
            return self._said(event, now)
        if isinstance(event, NewsCame):
            return self._news(event.news, now)
        if isinstance(event, NotSent):
            self._session.not_sent(now)
            return []
        if isinstance(event, Looked):
            return self._looked(event, now)
        if isinstance(event, ChildExited):
            return self._exited(event, now)
        if isinstance(event, Leave):
            return self._leave(now)
        if isinstance(event, (CodeUnpacked, CodeMissing, CodeFailed)):
            return self._code(event, now)
        return self._process(event, now)

    def due(self) -> float:
        """When the next `Tick` is needed at the latest, in monotonic seconds."""
        return min(
            self._session.next_at,
            self._fetches.due(),
            self._placements.due() if self._session.is_registered else math.inf,
            self._leave_at,
            min((child.due() for child in self._children.values()), default=math.inf),
        )

    def _wake(self, now: float) -> None:
        """Rule 5."""
        gap_s = now - self._now
        self._now = now
        if gap_s > SLEPT_S:
            self._session.slept(gap_s)
            self._leave_at += gap_s
            for child in self._children.values():
                child.slept(gap_s)

    # ---- time --------------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> list[AgentInstruction]:
        found = self._watch(now)
        found += self._fetches.again(now)
        found += self._start_what_can(now)
        if self._session.is_registered:
            found += [Send(AskPlacement(topology)) for topology in self._placements.to_ask(now)]
        found += self._session.look_at_silence(now)
        found += self._session.redial(now)
        if self._session.is_due(now):
            found.append(Send(self._heartbeat(now) if self._session.is_registered else self._register(now)))
        return found + self._leave_if_done(now)

    def _watch(self, now: float) -> list[AgentInstruction]:
        found: list[AgentInstruction] = []
        for child_id, child in self._children.items():
            if child.killed_for is None and child.wants_stack(now):
                found.append(DumpStack(child_id))
            sentence = child.condemned(now)
            if sentence is not None:
                reason, is_blamed = sentence
                found += self._kill(child_id, reason, is_blamed=is_blamed)
        return found

    # ---- coordinator -------------------------------------------------------------------------------------------------

    def _came(self, message: ToWorker, request: str, now: float) -> list[AgentInstruction]:
        self._session.heard(now)
        if isinstance(message, Heard):
            self._outbox.confirm(message.exits, message.letters)
            self._forget_ids()
            return []
        if isinstance(message, Wanted):
            return self._follow(message, now)
        if isinstance(message, BundleChunk):
            return self._fetches.chunk(message, now)
        if isinstance(message, PlacementIs):
            return self._placement_is(message, now)
        if isinstance(message, Registered):
            self._wanted_number = 0  # numbers begin anew with each registration
            return self._session.registered(message, now)
        if isinstance(message, RegisterAgain):
            return self._session.register_again(now)
        if isinstance(message, FetchLog):
            return [AnswerLog(message, request)]
        if isinstance(message, ForChild):
            return [self._carry(message)]
        return self._refused(message)

    def _carry(self, message: ForChild) -> AgentInstruction:
        """Carry a client's word to a child, or say at once that it isn't there."""
        child = self._children.get(message.id)
        is_there = child is not None and child.phase is ChildPhase.BORN
        error = f"{message.id} isn't running now; ask again"
        if message.push is not None:
            request = message.push.request
            return Carry(message.id, message.push) if is_there else Send(PushedIn(request, error=error, is_final=False))
        assert message.ask is not None, "one of the two"
        return Carry(message.id, message.ask) if is_there else Send(ItemsAre(message.ask.request, error=error))

    def _refused(self, refused: Refused) -> list[AgentInstruction]:
        if not refused.is_final or self._session.is_registered:
            return self._session.refused(refused)
        self.is_over = True
        running = [child_id for child_id, child in self._children.items() if child.runs]
        return [*map(KillChild, running), Exit(refused.reason)]

    def _register(self, now: float) -> Register:
        host = self._host
        return Register(
            name=host.name,
            identity=host.identity,
            session=host.session,
            slots=host.slots,
            host=host.address,
            figures=self._figures,
            library=host.library,
            python=host.python,
            process=host.process,
            children=self._states(now),
        )

    def _heartbeat(self, now: float) -> Heartbeat:
        self._heartbeats += 1
        return Heartbeat(
            name=self._host.name,
            session=self._host.session,
            number=self._heartbeats,
            wanted=self._wanted_number,
            children=self._states(now),
            exits=self._outbox.exits(),
            letters=self._outbox.letters(),
            figures=self._figures,
            placements=self._placements.known(),
            is_leaving=self.is_leaving,
        )

    def _states(self, now: float) -> tuple[ChildState, ...]:
        return tuple(self._children[child_id].state(now) for child_id in sorted(self._children))

    # ---- what is wanted ----------------------------------------------------------------------------------------------

    def _follow(self, wanted: Wanted, now: float) -> list[AgentInstruction]:
        """Rule 1."""
        if wanted.session != self._host.session or wanted.number <= self._wanted_number:
            return []
        self._wanted, self._wanted_number = wanted, wanted.number
        self._session.urgent(now)
        orders = {order.id: order for order in wanted.children}
        runs: dict[str, int] = {}
        for child_id in orders:
            runs[child_id.topology] = max(runs.get(child_id.topology, 0), child_id.run)
        running = {child_id.topology for child_id, child in self._children.items() if child.runs}
        self._placements.follow({*wanted.topologies, *runs, *running}, runs, now)
        found: list[AgentInstruction] = []
        for child_id in wanted.kills:
            found += self._kill_on_demand(child_id, now)
        for child_id in [child_id for child_id in self._children if child_id not in orders]:
            found += self._end(child_id, now)
        for order in wanted.children:
            found += self._take_order(order, now)
        found.append(RemoveCode(self._code_in_use()))
        in_use = {child.order.journal for child in self._children.values()}
        found += [RemoveJournal(journal) for journal in wanted.releases if journal.name not in in_use]
        return found + self._start_what_can(now)

    def _take_order(self, order: ChildOrder, now: float) -> list[AgentInstruction]:
        if order.id in self._children or order.id in self._ended or self.is_leaving:
            return []
        limits = [limit for limit in (order.memory_bytes_max, self._host.memory_bytes_max) if limit]
        self._children[order.id] = Child(order, min(limits, default=0), self._limits, now)
        if self._fetches.has(order.bundle):
            return []
        assert self._wanted is not None
        bundle = next((one for one in self._wanted.bundles if one.sha256 == order.bundle), None)
        try:
            if bundle is None:
                message = f"the coordinator names no bundle {order.bundle[:12]}…"
                raise ValueError(message)
            return self._fetches.want(bundle)
        except ValueError as error:
            return self._not_started(order.id, "bundle", str(error), now)

    def _code_in_use(self) -> frozenset[str]:
        assert self._wanted is not None
        listed = {bundle.sha256 for bundle in self._wanted.bundles}
        return frozenset(listed | {child.order.bundle for child in self._children.values() if child.order.bundle})

    def _end(self, child_id: ChildId, now: float) -> list[AgentInstruction]:
        """Let a child that isn't wanted any more exit by itself, for a while."""
        child = self._children[child_id]
        if not child.is_wanted:
            return []
        child.end_by(now + STOP_S)
        if child.runs:
            # A child that no placement has listed has nothing to tear down, and no placement can tell it to go.
            return [] if child.was_listed else self._kill(child_id, "not wanted any more")
        return self._gone(child, ChildExit(0, child_id, 0, None, was_wanted=False), now)

    def _kill_on_demand(self, child_id: ChildId, now: float) -> list[AgentInstruction]:
        child = self._children.get(child_id)
        if child is None:
            return []
        found = self._end(child_id, now)
        return found + self._kill(child_id, "the coordinator wants it so") if child_id in self._children else found

    def _kill(self, child_id: ChildId, reason: str, *, is_blamed: bool = False) -> list[AgentInstruction]:
        child = self._children[child_id]
        if not child.kill(reason, is_blamed=is_blamed):
            return []
        return [Note(f"killing {child_id}: {reason}", is_warning=child.is_wanted), KillChild(child_id, is_blamed)]

    def _start_what_can(self, now: float) -> list[AgentInstruction]:
        found: list[AgentInstruction] = []
        for child in self._children.values():
            if child.phase is not ChildPhase.FETCHING:
                continue
            earlier = self._earlier_start(child)
            if not self._fetches.has(child.order.bundle):
                child.note = self._fetches.note(child.order.bundle)
            elif earlier is not None:
                child.note = f"waits for the end of start {earlier.attempt}"
            else:
                child.note = ""
                child.starting(now)
                found.append(StartChild(child.order))
        return found

    def _earlier_start(self, child: Child) -> ChildId | None:
        """An earlier start of the same executor that is ending; in a planned move two of them are wanted at once."""
        mine = child.order.id
        for other_id, other in self._children.items():
            is_same = (other_id.topology, other_id.role, other_id.index) == (mine.topology, mine.role, mine.index)
            if is_same and other is not child and other.phase is ChildPhase.STOPPING:
                return other_id
        return None

    def _code(self, event: CodeUnpacked | CodeMissing | CodeFailed, now: float) -> list[AgentInstruction]:
        if isinstance(event, CodeMissing):
            return self._fetches.missing(event.sha256, now)
        if isinstance(event, CodeUnpacked):
            self._fetches.done(event.sha256)
            return self._start_what_can(now)
        self._fetches.failed(event.sha256)
        waiting = [
            child_id
            for child_id, child in self._children.items()
            if child.order.bundle == event.sha256 and child.phase is ChildPhase.FETCHING
        ]
        return [one for child_id in waiting for one in self._not_started(child_id, "bundle", event.reason, now)]

    # ---- placements --------------------------------------------------------------------------------------------------

    def _news(self, news: PlacementNews | NumbersNews, now: float) -> list[AgentInstruction]:
        if isinstance(news, NumbersNews):
            self._placements.numbers(news.numbers, now)
            return []
        return self._relay(news.placement, now)

    def _placement_is(self, answer: PlacementIs, now: float) -> list[AgentInstruction]:
        """A topology that has no placement yet, or no more, has none; what is to end, `Wanted` alone says."""
        return [] if answer.placement is None else self._relay(answer.placement, now)

    def _relay(self, placement: Placement, now: float) -> list[AgentInstruction]:
        if not self._placements.take(placement, now):
            return []
        return [
            one
            for child_id, child in self._children.items()
            if child_id.topology == placement.topology
            for one in self._relay_to(child, placement, now)
        ]

    def _relay_to(self, child: Child, placement: Placement, now: float) -> list[AgentInstruction]:
        """Rule 4; a child that a placement leaves out has to exit."""
        if not child.incarnation or child.killed_for is not None:
            return []
        is_listed = placement.member(child.incarnation) is not None
        child.was_listed = child.was_listed or is_listed
        is_ended = placement.phase is Phase.ENDED
        if not child.was_listed and not is_ended:
            return []
        if is_ended or not is_listed:
            child.is_released = True
            child.end_by(now + STOP_S)
        return [Relay(child.order.id, placement)]

    # ---- children ----------------------------------------------------------------------------------------------------

    def _process(self, event: ChildStarted | ChildNotStarted | ChildMute, now: float) -> list[AgentInstruction]:
        child = self._children.get(event.id)
        if child is None:
            return []
        if isinstance(event, ChildNotStarted):
            return self._not_started(event.id, "start", event.reason, now)
        if isinstance(event, ChildMute):
            return self._kill(event.id, event.reason)
        child.started(event.process, now)
        self._session.urgent(now)
        return [Note(f"started {event.id} as process {event.process}")]

    def _said(self, event: ChildSaid, now: float) -> list[AgentInstruction]:
        child = self._children.get(event.id)
        if child is None:
            return []
        message: Up = event.message
        if isinstance(message, Told):
            self._keep_letters(event.id, message)
            if child.told(message, now) or message.letters:
                self._session.urgent(now)
            return []
        if isinstance(message, (PushedIn, ItemsAre)):
            return [Send(message)]
        self._session.urgent(now)
        if isinstance(message, Born):
            child.born(message, now)
            newest = self._placements.get(event.id.topology)
            return [] if newest is None else self._relay_to(child, newest, now)
        if isinstance(message, Ready):
            child.ready(message.number, now)
        elif isinstance(message, PausedAt):
            child.paused(message)
        elif isinstance(message, Broke):
            child.broke = message
            return [Note(f"{event.id} can't go on ({message.kind}): {message.message}", is_warning=True)]
        return []  # Collected: what Collect nodes collected stays with who runs in processes of its own

    def _keep_letters(self, child_id: ChildId, told: Told) -> None:
        if not told.letters:
            return
        placement = self._placements.get(child_id.topology)
        self._outbox.add_letters(child_id, placement.pass_number if placement else 1, told.letters)

    def _looked(self, event: Looked, now: float) -> list[AgentInstruction]:
        self._figures = event.host
        for child_id, figures in event.children.items():
            child = self._children.get(child_id)
            if child is not None:
                child.looked(figures, now)
        return []

    def _exited(self, event: ChildExited, now: float) -> list[AgentInstruction]:
        child = self._children.get(event.id)
        if child is None:
            return []
        ended = ends.exited(child, event, host=self._host.hostname, now=now)
        found = self._gone(child, ended, now)
        tells = tells_of_items(ended.code, ended.runs, is_cut=ended.is_cut)
        if ended.cause is not None and not ended.broke and tells and child.order.journal:
            return [LeaveWord(child.order, ended.cause), *found]
        return found

    def _not_started(self, child_id: ChildId, broke: str, reason: str, now: float) -> list[AgentInstruction]:
        child = self._children[child_id]
        return self._gone(child, ends.not_started(child, broke, reason, host=self._host.hostname), now)

    def _gone(self, child: Child, ended: ChildExit, now: float) -> list[AgentInstruction]:
        del self._children[ended.id]
        self._ended.add(ended.id)
        self._outbox.add_exit(ended)
        self._session.urgent(now)
        how = ended.cause.message if ended.cause is not None else f"exit code {ended.code}"
        note = Note(f"{ended.id} has ended: {how}", is_warning=ended.was_wanted)
        return [note, *self._start_what_can(now)]

    def _forget_ids(self) -> None:
        """An id that is used up is kept only as long as an order can still name it."""
        named = {order.id for order in self._wanted.children} if self._wanted is not None else set()
        self._ended &= named | self._outbox.unconfirmed()

    # ---- leaving -----------------------------------------------------------------------------------------------------

    def _leave(self, now: float) -> list[AgentInstruction]:
        if self.is_leaving:
            self._leave_at = now
            return []
        self.is_leaving = True
        self._leave_at = now + self._limits.leave_s
        self._session.urgent(now)
        what = "asks the coordinator to move its work" if self._children else "it runs nothing"
        return [Note(f"leaving: {what}")]

    def _leave_if_done(self, now: float) -> list[AgentInstruction]:
        if not self.is_leaving:
            return []
        found: list[AgentInstruction] = []
        if now >= self._leave_at or self._session.is_silent or not self._session.is_registered:
            for child_id, child in list(self._children.items()):
                if child.runs:
                    found += self._kill(child_id, "its worker ended before its work was moved")
                elif child.phase is ChildPhase.FETCHING:
                    found += self._end(child_id, now)
        if self._children:
            return found
        self.is_over = True
        return [*found, *([Send(self._heartbeat(now))] if self._session.is_registered else []), Exit()]

    # ---- for tests ---------------------------------------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise AssertionError when a rule of this module is broken."""
        assert not self._ended & set(self._children), "an id that is used up runs again (rule 1)"
        for child in self._children.values():
            child.check_invariants()
