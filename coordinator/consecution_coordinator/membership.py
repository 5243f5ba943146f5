"""Who is in the cluster: workers, their sessions, and when they are dead.

Rules of this module: pure. A worker is dead when the coordinator, awake, has heard nothing of it for `silent_s` (R5).
If the coordinator finds that it slept itself, all these times begin anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consecution.wire.cluster.parcel import Refused
from consecution_coordinator.kept import WorkerKept
from consecution_coordinator.placing import Room

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from consecution.wire.cluster.from_worker import ChildId, ChildState, Heartbeat, Register
    from consecution.wire.cluster.to_worker import Wanted
    from consecution_coordinator.limits import Limits


MISSED = 3.0  # heartbeats: who is silent for longer is shown as such


@dataclass(slots=True)
class Worker:
    """A worker as it is now.

    Attributes:
        kept: What survives a restart of the coordinator.
        peer: Connection of its newest message; b"" when it hasn't been heard since our start.
        heard_at: When.
        deadline: When it is dead.
        is_alive: It was heard and isn't dead.
        is_expected: It was alive before our restart, and still may come back.
        is_leaving: It wants to end.
        number: Of its newest heartbeat.
        follows: Newest number of a `Wanted` that it follows.
        children: What it runs, by its newest heartbeat.
        wanted: Told last; None before the first of this registration.
        ordered: The number of the `Wanted` that first named each child that is wanted now.
        placements: Newest placement that it relayed, by topology.
    """

    kept: WorkerKept
    peer: bytes = b""
    heard_at: float = 0.0
    deadline: float = 0.0
    is_alive: bool = False
    is_expected: bool = False
    is_leaving: bool = False
    number: int = 0
    follows: int = 0
    children: dict[ChildId, ChildState] = field(default_factory=dict)
    wanted: Wanted | None = None
    ordered: dict[ChildId, int] = field(default_factory=dict)
    placements: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name."""
        return self.kept.name

    @property
    def takes_work(self) -> bool:
        """Whether something may be placed on it."""
        return self.is_alive and not self.is_leaving


class Membership:
    """All workers, by name.

    Args:
        limits: Times and bounds.
        library: Of this coordinator; workers must have the same.
    """

    def __init__(self, limits: Limits, library: str) -> None:
        self._limits = limits
        self._library = library
        self._workers: dict[str, Worker] = {}
        self._last: float | None = None

    def __iter__(self) -> Iterator[Worker]:
        return iter([self._workers[name] for name in sorted(self._workers)])

    def __len__(self) -> int:
        return len(self._workers)

    def get(self, name: str) -> Worker | None:
        """The worker of a name; None when it was never there."""
        return self._workers.get(name)

    def take_back(self, kept: Iterable[WorkerKept], now: float) -> None:
        """Expect the workers of the store."""
        for one in kept:
            deadline = now + self._limits.adopt_s
            self._workers[one.name] = Worker(one, deadline=deadline, heard_at=now, is_expected=not one.is_gone)

    def wake(self, now: float) -> bool:
        """Begin all deadlines anew when the coordinator itself slept; whether it did. Called before each event."""
        slept = self._last is not None and now - self._last > self._limits.slept_s
        self._last = now
        if slept:
            for worker in self._workers.values():
                silent_s = self._limits.adopt_s if worker.is_expected else self._limits.silent_s
                worker.deadline = max(worker.deadline, now + silent_s)
        return slept

    def refusal(self, message: Register, now: float) -> Refused | None:
        """Why a worker can't join; None when it can."""
        if message.library != self._library:
            return Refused(
                f"worker {message.name!r} has consecution {message.library}, the coordinator {self._library}; install "
                "the same release on both",
                kind="version",
            )
        others = [w for w in self if w.is_alive and w.name != message.name]
        if others and others[0].kept.python != message.python:
            return Refused(
                f"worker {message.name!r} runs Python {message.python}, the workers of this cluster run Python "
                f"{others[0].kept.python}; items and code travel between them, so use one minor version on all",
                kind="version",
            )
        known = self._workers.get(message.name)
        if (
            known is not None
            and known.kept.identity != message.identity
            and (known.is_alive or known.is_expected)
            and now < known.deadline
        ):
            return Refused(
                f"a worker named {message.name!r} is in the cluster already, from {known.kept.host} with another data "
                "folder; give this one another --name, or stop the other",
                kind="name",
            )
        if (
            known is not None
            and known.is_alive
            and known.kept.session != message.session
            and now - known.heard_at < MISSED * self._limits.heartbeat_s
        ):
            # It was restarted, then the earlier one falls silent; or its folder was copied, then it doesn't.
            return Refused(
                f"another process speaks for worker {message.name!r} with the same data folder, or did a moment ago; "
                "this one is let in when that is silent. If the folder was copied, remove the file `identity` in it",
                is_final=False,
                kind="name",
            )
        if known is None and len(self._workers) >= self._limits.workers_max:
            return Refused(f"the cluster has {self._limits.workers_max} workers, which is its bound", kind="capacity")
        if not message.name or len(message.name) > 100 or not message.name.isprintable() or "/" in message.name:
            return Refused(f"{message.name!r} can't name a worker; use letters, digits, '.', '-' and '_'", kind="name")
        return None

    def join(self, message: Register, peer: bytes, now: float) -> tuple[Worker, WorkerKept | None]:
        """Take a worker in.

        Returns:
            The worker, and what was kept of it before; None when it is new.
        """
        known = self._workers.get(message.name)
        before = known.kept if known is not None else None
        kept = WorkerKept(
            name=message.name,
            identity=message.identity,
            session=message.session,
            slots=max(0, message.slots),
            host=message.host,
            library=message.library,
            python=message.python,
            figures=message.figures,
        )
        if before is not None and before.session == message.session:
            kept.exits, kept.letters = before.exits, before.letters
        worker = Worker(kept, peer, now, now + self._limits.silent_s, is_alive=True)
        worker.children = {child.id: child for child in message.children}
        self._workers[message.name] = worker
        return worker, before

    def hear(self, message: Heartbeat, peer: bytes, now: float) -> Worker | None:
        """Take a heartbeat's time and state in; None when its session isn't in the cluster."""
        worker = self._workers.get(message.name)
        if worker is None or not worker.is_alive or worker.kept.session != message.session:
            return None
        worker.heard_at, worker.deadline = now, now + self._limits.silent_s
        if message.number > worker.number:
            worker.peer = peer  # a late one came by a connection that is no more
            worker.number = message.number
            worker.follows = message.wanted
            worker.children = {child.id: child for child in message.children}
            worker.placements = dict(message.placements)
            worker.is_leaving = message.is_leaving
            if message.figures.cores:
                worker.kept.figures = message.figures
        return worker

    def take_dead(self, now: float) -> list[Worker]:
        """The workers that died since the last call; they are marked."""
        dead = [w for w in self if (w.is_alive or w.is_expected) and now >= w.deadline]
        for worker in dead:
            worker.is_alive = worker.is_expected = False
            worker.kept.is_gone = True
            worker.children, worker.wanted, worker.ordered = {}, None, {}
        return dead

    def forget(self, name: str) -> None:
        """Remove a worker that nothing names any more."""
        self._workers.pop(name, None)

    def rooms(self, used: dict[str, int]) -> list[Room]:
        """What workers have to offer, by name."""
        return [Room(w.name, w.kept.slots, used.get(w.name, 0)) for w in self if w.takes_work]
