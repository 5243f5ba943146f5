"""A small parent: starts processes, publishes placements, puts new processes in the place of dead ones.

Rules of this module: what mode "processes" does with its children, on virtual time; and what a coordinator does that
takes a living process for dead: it leaves it out of a placement, and lets it find out (`drop`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consecution.guarantee.crashes import tells_of_items
from consecution.guarantee.levels import Robustness
from consecution.guarantee.messages import Cause
from consecution.local.restart import FOLDER
from consecution.testing.sim.scenario import Kind
from consecution.wire.control import Begin, Born, Broke, Ready, RunSettings, Told
from consecution.wire.placement import Death, Member, Phase, Placement, Role

if TYPE_CHECKING:
    from random import Random

    from consecution.testing.sim.process import SimHost, SimProcess
    from consecution.testing.sim.scenario import Fault
    from consecution.testing.sim.virtual import VirtualWorld
    from consecution.wire.control import Up

DEATHS_KEPT = 32
AGAIN_S = 1.0


@dataclass(slots=True)
class Seat:
    """The place of an executor or acker, whoever fills it.

    Attributes:
        role: Which.
        index: Its number.
        tasks: Tasks of whoever fills it.
        feeds: Producers likewise.
        process: Who fills it now.
        born: What that said at its birth.
        birth: First placement that lists it; 0 before.
        ready: Newest placement that it is ready for.
        told: How it stood.
        starts: How many have filled it.
    """

    role: Role
    index: int
    tasks: tuple[int, ...] = ()
    feeds: tuple[int, ...] = ()
    process: SimProcess | None = None
    born: Born | None = None
    birth: int = 0
    ready: int = 0
    told: Told = field(default_factory=lambda: Told(0))
    starts: int = 0


class SimParent:
    """The parent of all processes of a run.

    Args:
        world: Where it lives.
        settings: Of the run.
        n_tasks: Of the plan.
        random: Decides how late its words come.

    Attributes:
        phase: What all are to do.
        is_done: All tasks have ended and all items have their outcome.
        is_over: All processes have ended.
        problem: Why it can't go on.
    """

    def __init__(self, world: VirtualWorld, settings: RunSettings, n_tasks: int, random: Random) -> None:
        self._world = world
        self._settings = settings
        self._random = random
        self._number = 0
        self._deaths: list[Death] = []
        self._listed: frozenset[int] = frozenset()
        self._given: dict[int, tuple[float, int]] = {}  # by pid: when the newest comes, and its number
        self.phase = Phase.STARTING
        self.is_done = False
        self.is_over = False
        self.problem = ""
        n_executors = min(world.scenario.n_executors, n_tasks)
        n_feeds = len(world.scenario.flow.producers)
        self.seats = [
            Seat(
                Role.EXECUTOR,
                index,
                tuple(task for task in range(n_tasks) if task % n_executors == index),
                tuple(range(n_feeds)) if index == 0 else (),
            )
            for index in range(n_executors)
        ]
        self.seats += [Seat(Role.ACKER, index) for index in range(world.scenario.n_ackers)]

    def start(self) -> None:
        """Start everything."""
        for seat in self.seats:
            self._fill(seat)
        self._world.timeline.after(AGAIN_S, self._again)

    # ---- processes -----------------------------------------------------------------------------------------------

    def _host(self, seat: Seat) -> SimHost:
        hosts = self._world.hosts
        return hosts[seat.index % len(hosts)] if seat.role is Role.EXECUTOR else hosts[-1 - seat.index % len(hosts)]

    def _fill(self, seat: Seat) -> None:
        if self.is_over or self.phase is Phase.ENDED:
            return
        seat.starts += 1
        name = f"{seat.role.value}-{seat.index}.{seat.starts}"
        journal = "/journal" if seat.feeds and self._settings.level == Robustness.REPLAY.name else None
        begin = Begin(
            topology="sim",
            role=seat.role,
            index=seat.index,
            bind="",
            n_ackers=self._world.scenario.n_ackers,
            settings=self._settings,
            journal=journal,
            in_work=f"{journal or f'/runs/{name}'}/{FOLDER}",
        )
        seat.process = self._world.start(name, self._host(seat), begin)
        seat.born, seat.birth, seat.ready, seat.told = None, 0, 0, Told(0)

    def heard(self, process: SimProcess, message: Up) -> None:
        """A process said something."""
        seat = next((seat for seat in self.seats if seat.process is process), None)
        if seat is None:
            return
        if isinstance(message, Born):
            seat.born = message
            if self._number or all(one.born for one in self.seats):
                self._publish()
        elif isinstance(message, Ready):
            seat.ready = max(seat.ready, message.number)
            if self.phase is Phase.STARTING and all(one.birth and one.ready >= one.birth for one in self.seats):
                self.phase = Phase.RUNNING
                self._publish()
        elif isinstance(message, Told):
            seat.told = message
            self._look_whether_done()
        elif isinstance(message, Broke) and not self._world.is_stormy:
            self.problem = f"{process.name}: {message.message}"

    def died(self, process: SimProcess, code: int) -> None:
        """A process has ended; its parent hears it a little later."""
        self._world.timeline.after(self._random.uniform(0.0, 0.05), lambda: self._bury(process, code))

    def _bury(self, process: SimProcess, code: int) -> None:
        seat = next((seat for seat in self.seats if seat.process is process), None)
        if seat is None:
            return  # somebody else has its place already
        if self.phase is Phase.ENDED:
            seat.process = None
            self.is_over = all(one.process is None for one in self.seats)
            return
        if seat.birth:
            runs = tuple(run for slot in process.slots for run in slot.runs)
            cause = Cause("", "ProcessDied", f"{process.name} ended with {code}")
            death = Death(process.incarnation, runs, False, cause, self._number + 1)
            if tells_of_items(code, runs, is_cut=False):
                self._deaths = [*self._deaths, death][-DEATHS_KEPT:]
        self._replace(seat)

    def strike(self, fault: Fault) -> bool:
        """Let a fault happen that is the parent's; False when it isn't."""
        if fault.kind is not Kind.DROP:
            return False
        self.drop(self.seats[fault.pick % len(self.seats)])
        return True

    def power_is_cut(self, host: SimHost) -> None:
        """A host has lost its power; its processes are found dead one by one."""

    def heal(self) -> None:
        """Nothing of the parent's own is broken."""

    def stand(self) -> str:
        """How it stands, for people."""
        return f"placement {self._number} {self.phase.value}"

    def drop(self, seat: Seat) -> None:
        """Take a living process for dead: place its tasks elsewhere, and let it find out."""
        if self.phase is not Phase.ENDED and seat.birth and not seat.feeds:
            self._replace(seat)

    def _replace(self, seat: Seat) -> None:
        seat.process, seat.born, seat.birth = None, None, 0
        self.is_done = False
        if self._number:
            self._publish()
        self._world.timeline.after(self._random.uniform(0.01, 0.3), lambda: self._fill(seat))

    # ---- placements ----------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        self._number += 1
        members = []
        for seat in self.seats:
            if seat.born is None:
                continue
            seat.birth = seat.birth or self._number
            born = seat.born
            members.append(
                Member(
                    born.incarnation,
                    seat.birth,
                    seat.role,
                    seat.index,
                    born.address,
                    tasks=seat.tasks,
                    feeds=seat.feeds,
                )
            )
        listed = frozenset(member.incarnation for member in members)
        self._world.published(self._listed, listed)
        self._listed = listed
        self._newest = Placement(
            "sim",
            self._number,
            self.phase,
            tuple(members),
            self._world.scenario.n_ackers,
            deaths=tuple(self._deaths),
        )
        self._world.note(f"placement {self._number} {self.phase.value} {[m.index for m in members]}")
        for process in self._world.processes:
            if process.transport is not None and self._random.random() < 0.9:
                self._give(process)

    def _give(self, process: SimProcess) -> None:
        """Bring the newest placement to a process, some time later, and behind what was given before."""
        placement = self._newest
        before, number = self._given.get(process.pid, (0.0, 0))
        if number >= placement.number:
            return
        late_s = self._random.choice((0.0, 0.001, 0.01, 0.3)) * self._random.random()
        at = max(before, self._world.timeline.now + late_s)
        self._given[process.pid] = at, placement.number
        self._world.timeline.at(at, lambda: process.give(placement))

    def _again(self) -> None:
        """The newest number is told each second: who has missed it gets it."""
        if self.is_over:
            return
        if self._number:
            for process in self._world.processes:
                if process.transport is not None:
                    self._give(process)
        self._world.timeline.after(AGAIN_S, self._again)

    # ---- the end -------------------------------------------------------------------------------------------------

    def _look_whether_done(self) -> None:
        if self.phase is not Phase.RUNNING or self.is_done:
            return
        for seat in self.seats:
            if seat.role is Role.ACKER:
                continue
            is_up = seat.birth and seat.ready >= seat.birth
            if not is_up or not set(seat.tasks) <= set(seat.told.tasks_ended):
                return
            places = {feed.place for feed in seat.told.feeds if feed.is_idle and feed.is_at_end}
            if not set(seat.feeds) <= places:
                return
        self.is_done = True

    def end(self) -> None:
        """Let everything end."""
        self.phase = Phase.ENDED
        self._publish()
        self.is_over = all(seat.process is None for seat in self.seats)
