"""The calling process's own part in a run over processes: what only it can read is produced and journalled here.

Rules of this module: it knows no children. Its `Peer` has no tasks but the doors to other consecutors, and is listed in
placements as the caller. `begin` opens a pass and `close` ends it; between two passes there is nothing to ask.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from consecution.errors import ConsecutionError
from consecution.local.opening import Identity, names_of, open_intake
from consecution.process.peer import Peer
from consecution.transport.zeromq import ZmqTransport
from consecution.wire.placement import Member, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from consecution.graph import Dag
    from consecution.local.intake import Intake
    from consecution.local.opening import OpenedIntake, Settings
    from consecution.local.receipts import Receipts
    from consecution.plan.stages import Plan
    from consecution.process.settings import Neighbours
    from consecution.producers.base import Producer
    from consecution.producers.handover import Taker
    from consecution.wire.placement import Death, Placement


class Caller:
    """What the calling process does itself. One owner; only `wake` is thread-safe.

    Args:
        dag: The graph.
        plan: Its stages and tasks.
        producers: Each with the places of the nodes that it feeds.
        settings: Of the run.
        folder: For its socket.
        doors: Tasks that are doors, with where they lead and whether they are async.
        neighbours: What joins the run to those of other consecutors.
        new_id: Gives ids that nobody else has.
    """

    def __init__(
        self,
        dag: Dag,
        plan: Plan,
        producers: Sequence[tuple[Producer, tuple[int, ...]]],
        settings: Settings,
        *,
        folder: Path,
        doors: Mapping[int, tuple[Taker, bool]],
        neighbours: Neighbours,
        new_id: Callable[[], int],
    ) -> None:
        self._dag, self._plan, self._producers, self._settings = dag, plan, producers, settings
        self._folder, self._doors, self._neighbours, self._new_id = folder, doors, neighbours, new_id
        self._passes = 0
        self._birth = 0
        self._knew: frozenset[str] | None = None
        self._transport: ZmqTransport | None = None
        self._peer: Peer | None = None
        self._opened: OpenedIntake | None = None

    def begin(self, birth: int, *, is_fresh: bool, is_careful: bool = False, deaths: Sequence[Death] = ()) -> None:
        """Open the journal and the producers for a pass.

        Args:
            birth: Number of the placement that will list it first.
            is_fresh: Move a journal that is there aside.
            is_careful: Items go one by one.
            deaths: Of the executors of the passes before.

        Raises:
            JournalError: The journal can't be used.
        """
        incarnation = self._new_id()
        self._passes += 1
        self._birth = birth
        self._transport = ZmqTransport(incarnation, f"ipc://{self._folder}/c{self._passes}")
        self._peer = peer = Peer(
            self._dag, self._plan, self._settings, self._transport, new_id=self._new_id, n_ackers=1, doors=self._doors
        )
        self._opened = opened = open_intake(
            self._dag,
            self._plan,
            self._producers,
            self._settings,
            identity=Identity(self._new_id, lambda: incarnation, peer.roots_of),
            incarnation_of=peer.owner,
            link=peer,
            start_fresh=is_fresh,
            keeps_slots=True,
            audience=dataclasses.replace(self._neighbours.audience, wake=self.wake),
            is_careful=is_careful,
            deaths=deaths,
        )
        if self._knew is None:
            names = names_of([producer for producer, _ in self._producers])
            self._knew = frozenset(name for name in names if opened.knows_items_of(name))
        if opened.has_started_over and self._neighbours.starts_over is not None:
            self._neighbours.starts_over()
        opened.begin()
        peer.take_intake(opened.intake)

    def close(self, *, is_finished: bool, keeps_slots: bool = False) -> None:
        """Close what a pass had opened; nothing when none is open.

        Args:
            is_finished: All is done, so the journal may be released.
            keeps_slots: Another pass begins, with the same receipts.
        """
        opened, self._opened = self._opened, None
        transport, self._transport = self._transport, None
        self._peer = None
        if opened is not None:
            if keeps_slots:
                opened.abandon()
            else:
                why = "was stopped before its outcome; what the journal holds goes on at the next start"
                opened.receipts.abandon(ConsecutionError(f"the run {why}"))
                opened.close(is_finished=is_finished)
        if transport is not None:
            transport.close()

    @property
    def intake(self) -> Intake | None:
        """The producers; None while no pass is open."""
        return None if self._opened is None else self._opened.intake

    @property
    def receipts(self) -> Receipts | None:
        """Of items that were pushed; None while no pass is open."""
        return None if self._opened is None else self._opened.receipts

    @property
    def tasks_ended(self) -> frozenset[int]:
        """The doors through which nothing more comes."""
        return frozenset() if self._peer is None else self._peer.tasks_ended

    def knew_items_of(self, producer: str) -> bool:
        """Whether its journal knew items of a producer when the first pass began."""
        return self._knew is not None and producer in self._knew

    def member(self) -> Member | None:
        """As a placement lists it; None while no pass is open."""
        transport = self._transport
        if transport is None:
            return None
        return Member(transport.incarnation, self._birth, Role.CALLER, 0, transport.address, tasks=tuple(self._doors))

    def place(self, placement: Placement) -> None:
        """Take the newest placement."""
        if self._peer is not None:
            self._peer.place(placement)

    def turn(self, wait_s: float) -> None:
        """Read, send and hear once; when there is nothing to do, wait for something at most so long."""
        peer = self._peer
        assert peer is not None, "no pass is open"
        peer.turn()
        peer.advance()
        if peer.is_quiet:
            now = time.monotonic()
            peer.wait(min(wait_s, peer.due(now) - now))

    def wake(self) -> None:
        """End a wait of `turn`, from any thread."""
        transport = self._transport
        if transport is not None:
            transport.wake()
