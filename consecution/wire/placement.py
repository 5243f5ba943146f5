"""Placement: the numbered word of a coordinator, or of the parent in mode "processes", on who owns what (R4 to R6).

Rules of this module: values only. Numbers grow by one for each topology and never go back. Deaths, pauses, drains and
kills are fields of the placement, not messages that can be missed.
"""

from __future__ import annotations

import enum
from dataclasses import field
from typing import TYPE_CHECKING

from consecution.value import value

if TYPE_CHECKING:
    from collections.abc import Iterator

from consecution.guarantee.messages import Cause
from consecution.plan.partitions import StageTasks


class Role(enum.Enum):
    """What a process of a topology does."""

    EXECUTOR = "executor"
    ACKER = "acker"
    CALLER = "caller"


class Phase(enum.Enum):
    """What all processes of a topology are to do.

    Attributes:
        STARTING: Processes are being started; nodes are set up, nothing is read.
        RUNNING: Producers read.
        PAUSED: Producers don't read; they flush, and confirm `Placement.pause` when no root of theirs is open (R6).
        DRAINING: Producers read no more; what entered is finished, ``finish`` isn't called, then all end.
        ENDED: Every process tears down and exits.
    """

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    ENDED = "ended"


@value
class Member:
    """A living process of a topology.

    Attributes:
        incarnation: Its 64 random bits.
        birth: Number of the first placement that lists it.
        role: What it does.
        index: Number of the executor or acker; a restarted one keeps it. 0 for the caller.
        address: Where its PULL socket is bound.
        worker: Name of the worker that runs it; "" in mode "processes".
        tasks: Tasks that it owns.
        feeds: Producers that it runs, by their place in the plan.
        key: Public CURVE key of its links; None where they aren't encrypted.
        bridge: Where executors of joined topologies reach it; "" when none is joined.
    """

    incarnation: int
    birth: int
    role: Role
    index: int
    address: str
    worker: str = ""
    tasks: tuple[int, ...] = ()
    feeds: tuple[int, ...] = ()
    key: bytes | None = None
    bridge: str = ""


@value
class Outlet:
    """Where the items of a linked output go now: the process of another topology that journals them (R21).

    Attributes:
        link: Place of the link among those of the consecutor.
        place: Of the producer in the other's plan.
        incarnation: Of that process.
        address: Of its bridge.
        key: Its public key; None where bridges aren't encrypted.
    """

    link: int
    place: int
    incarnation: int
    address: str
    key: bytes | None = None


@value
class Inlet:
    """What comes from a topology before this one.

    Attributes:
        place: Of the producer that takes it.
        is_over: Nothing more comes: that topology is over.
        keys: Public keys of the processes that may bring it.
        senders: Incarnations that bring it now.
    """

    place: int
    is_over: bool = False
    keys: tuple[bytes, ...] = ()
    senders: tuple[int, ...] = ()


@value
class Death:
    """An incarnation that this or an earlier placement dropped after an abnormal end (R15).

    Attributes:
        incarnation: Who died.
        runs: What its crash slot held: (root, first index, count); count 0xFFFFFFFF means the whole root.
        is_cut: The slot couldn't name all of it.
        cause: How it died, as a user reads it.
        number: The placement that dropped it first.
    """

    incarnation: int
    runs: tuple[tuple[int, int, int], ...]
    is_cut: bool
    cause: Cause
    number: int


@value
class Placement:
    """Who lives and who owns what, for one topology.

    Attributes:
        topology: Its name.
        number: From 1.
        phase: What all are to do.
        members: All living processes.
        n_ackers: Fixed for the topology's life; root modulo n_ackers names the acker (R7).
        pause: Grows with each pause; producers confirm it by this number.
        pass_number: Grows when the run starts over (R17).
        deaths: Abnormal ends of the last placements; an acker applies those that it hasn't seen.
        scaled: Stages whose parallelism isn't that of the flow any more; () while all are as the flow says.
        is_moving: Something moves as soon as this pause is confirmed: replays wait too (R6).
        outlets: Where its linked outputs lead now.
        inlets: What it takes from other topologies.
        starts_again: It began anew, so that what it pushes may have been pushed before (R17).
        keeps_journal: Phase ENDED releases no journal: those that take what it hands over haven't finished.
        is_careful: Processes die again and again, and nobody knows of which item: producers send one by one.
        rate_note: A line for people on why it is as it is ("waits for 2 slots"); "" when there is nothing to say.
    """

    topology: str
    number: int
    phase: Phase
    members: tuple[Member, ...] = ()
    n_ackers: int = 1
    pause: int = 0
    pass_number: int = 1
    deaths: tuple[Death, ...] = field(default=())
    rate_note: str = ""
    scaled: tuple[StageTasks, ...] = ()
    is_moving: bool = False
    outlets: tuple[Outlet, ...] = ()
    inlets: tuple[Inlet, ...] = ()
    starts_again: bool = False
    keeps_journal: bool = False
    is_careful: bool = False

    def member(self, incarnation: int) -> Member | None:
        """The member of an incarnation; None when it isn't listed."""
        return next((member for member in self.members if member.incarnation == incarnation), None)

    def owner(self, task: int) -> int | None:
        """The incarnation that runs a task; None while nobody does."""
        return next((member.incarnation for member in self.members if task in member.tasks), None)

    def acker(self, index: int) -> int | None:
        """The incarnation of an acker; None while it is being restarted."""
        for member in self.members:
            if member.role is Role.ACKER and member.index == index:
                return member.incarnation
        return None

    def producers(self) -> Iterator[tuple[int, int]]:
        """(place of the producer, incarnation that runs it)."""
        for member in self.members:
            for feed in member.feeds:
                yield feed, member.incarnation
