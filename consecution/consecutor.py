"""Consecutor: a Dag with a guarantee.

Rules of this module: it checks what users say, and hands over to `consecution.local`; nothing runs at import.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self, TypeVar

from consecution.between.chains import refuse_unclosed
from consecution.between.joinable import Inputs, Joinable, Output, Outputs, Reach
from consecution.between.links import FAILED, Entry, Exit, Link, Ties, doors_of, group_of, place_of
from consecution.between.runs import build_group, build_group_replay, build_processes, check_fed
from consecution.errors import GraphError, short_repr
from consecution.flow import stop_if_loading
from consecution.graph import Dag, Source
from consecution.guarantee.levels import Robustness
from consecution.local.again import build_replay
from consecution.local.build import build
from consecution.plan.exposure import pending_default
from consecution.producers import Producer, as_producer
from consecution.producers.pusher import Pusher
from consecution.running import Running, run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from consecution.between.runs import Feeds
    from consecution.flow import FlowAddress
    from consecution.local.opening import Settings
    from consecution.process.group import ProcessesGroup
    from consecution.process.parent import ProcessesRun
    from consecution.process.settings import ProcessesSettings
    from consecution.report import Progress, Report
    from consecution.running import Run


JOURNALS = Path(".consecution")

_NUMBERS = itertools.count()  # only compared: those of one group run in the order in which they were made

Mode = Literal["single", "threads", "processes"]
T = TypeVar("T")


class _Default:
    """The journal's place when nothing is said: ``./.consecution/NAME/`` for REPLAY."""

    def __repr__(self) -> str:
        return "./.consecution/NAME/"


DEFAULT_JOURNAL: Final = _Default()


class Consecutor(Joinable):
    """A graph of nodes with a guarantee: every item is completely processed, or reported as failed with its cause.

    Args:
        dag: A node, or an expression such as ``producer | parse | [store, alert]``; the whole connected graph is
            frozen.
        name: Of its journal and reports; None: the stem of the file that makes it.
        robustness: How much is promised; see `Robustness`.
        replays_max: Replays of an item that fails; after 1 + `replays_max` attempts it is a dead letter.
        timeout_s: Seconds of silence after which the audit looks for what was lost; slowness alone never fails an item.
        call_timeout_s: Seconds that one ``process`` may take where nodes have processes of their own.
        pending_max: Items of each producer that may be unfinished; None: 32,768, over processes 65,536 while their
            copies take less than 64 MiB, and in any case four times what Chunks can hold.
        journal: Folder of the journal; None for none. By default ``./.consecution/NAME/`` for REPLAY and a flow in a
            file.
        resume: For accumulating nodes after a death: "start" runs again from the start, "position" goes on and says
            ``state_lost``.
        batch_ends: It takes a `BatchEnd` for each batch of the consecutors whose blocking outputs lead to it, as an
            item among the others.

    Raises:
        GraphError: The graph or an argument is wrong; names the node and the cure.

    >>> from consecution import Collect, Consecutor
    >>> cons = Consecutor([1, 2, 3] | Collect("out"), journal=None)
    >>> report = cons.run()
    >>> report.completed, report.collected["out"], bool(report)
    (3, [1, 2, 3], True)
    """

    def __init__(
        self,
        dag: object,
        name: str | None = None,
        *,
        robustness: Robustness = Robustness.REPLAY,
        replays_max: int = 3,
        timeout_s: float = 30.0,
        call_timeout_s: float = 300.0,
        pending_max: int | None = None,
        journal: str | Path | _Default | None = DEFAULT_JOURNAL,
        resume: Literal["start", "position"] = "start",
        batch_ends: bool = False,
    ) -> None:
        file = sys._getframe(1).f_globals.get("__file__")
        self._number = next(_NUMBERS)
        self._is_named = name is not None
        self._base_name = name if name is not None else (Path(file).stem if file else "flow")
        self.name = self._base_name
        if not self.name or any(char in self.name for char in "/\\\0") or self.name in (".", ".."):
            message = f"Consecutor(name={self.name!r}): a name is a folder's name; use letters, digits, '-' and '_'"
            raise GraphError(message)
        self.robustness = _checked(
            "robustness", robustness, isinstance(robustness, Robustness), "a Robustness, such as Robustness.REPLAY"
        )
        self.replays_max = _checked(
            "replays_max", replays_max, _is_int(replays_max) and replays_max >= 0, "a whole number, 0 or more"
        )
        self.timeout_s = _checked("timeout_s", timeout_s, _is_positive(timeout_s), "seconds above 0")
        self.call_timeout_s = _checked(
            "call_timeout_s", call_timeout_s, _is_positive(call_timeout_s), "seconds above 0"
        )
        _checked(
            "pending_max", pending_max, pending_max is None or (_is_int(pending_max) and pending_max > 0),
            "a whole number of items, 1 or more",
        )  # fmt: skip
        self.resume = _checked("resume", resume, resume in ("start", "position"), "'start' or 'position'")
        self.batch_ends = _checked("batch_ends", batch_ends, isinstance(batch_ends, bool), "True or False")
        self.dag = Dag.of(dag, self.name)
        self._pending_given = pending_max
        self.pending_max = pending_max if pending_max is not None else pending_default(self.dag)
        self._has_file = file is not None
        is_folder = journal is None or isinstance(journal, (str, os.PathLike, _Default))
        self._journal = _checked("journal", journal, is_folder, "a folder, or None for no journal")
        self._attached: list[tuple[Source, tuple[int, ...]]] = []
        self._made: dict[int, Producer] = {}
        self._ties = Ties()
        self._run_dag: tuple[int, Dag] | None = None

    def __repr__(self) -> str:
        """Name it, with its nodes."""
        return f"<Consecutor {self.name!r} of {len(self.dag.nodes)} nodes>"

    def _repr_svg_(self) -> str:
        """Draw its graph, where a notebook shows it."""
        return self.dag._repr_svg_()

    # ---- composition ---------------------------------------------------------------------------------------------

    @property
    def reach(self) -> Reach:
        """In by its only entry, out by its default output."""
        return Reach((Entry(self),), (Exit(self),))

    @property
    def label(self) -> str:
        """Its name."""
        return self.name

    def __ror__(self, left: object) -> Self:
        """Feed a producer, items, or other consecutors' outputs into the one entry: ``producer | consecutor``."""
        super().__ror__(left)
        return self

    @property
    def output(self) -> Outputs:
        """Its outputs by name: "default" and those that its nodes declare; ``cons.output["a"] | other``."""
        return Outputs(self)

    @property
    def input(self) -> Inputs:
        """Its entry nodes by name: ``rows | cons.input["parse"]``."""
        return Inputs(self)

    @property
    def failed(self) -> Output:
        """Its dead letters as an output: ``cons.failed | alert``; see docs/outputs.md for what each holds."""
        return Output(self, FAILED, is_failed=True)

    def feed(self, source: Source, entry: Entry) -> None:
        """Feed a producer into one of its entry nodes; what ``producer | consecutor`` does.

        Raises:
            GraphError: There is no such entry, or the producer feeds something already.
        """
        if source._slot.outputs:
            message = (
                f"producer {source!r} feeds a graph already; link it to nodes, or to consecutor {self.name}, "
                "not to both"
            )
            raise GraphError(message)
        self._attached.append((source, (place_of(entry),)))

    def only_entry(self) -> int:
        """The place of its one entry node.

        Raises:
            GraphError: It has none or several.
        """
        free = [entry for entry in self.dag.entries if not self.dag.inputs(entry)]
        if len(free) != 1:
            names = ", ".join(repr(self.dag.names[entry]) for entry in free) or "none"
            message = (
                f"consecutor {self.name} has {len(free)} entry nodes ({names}); what is linked to a consecutor needs "
                f"exactly one: name it, as in x | {self.name}.input['node'], or link the producer to the nodes before "
                "you make the Consecutor"
            )
            raise GraphError(message)
        return free[0]

    @property
    def group(self) -> frozenset[Consecutor]:
        """All consecutors that run together with this one, itself included."""
        return frozenset(group_of(self))

    @property
    def group_in_order(self) -> tuple[Consecutor, ...]:
        """The group, upstream first."""
        return tuple(group_of(self))

    @property
    def links(self) -> tuple[Link, ...]:
        """The links that begin at it, in order of linking."""
        return tuple(self._ties.outputs)

    @property
    def inputs(self) -> tuple[Link, ...]:
        """The links that end at it, in order of linking."""
        return tuple(self._ties.inputs)

    @property
    def run_dag(self) -> Dag:
        """Its graph as it runs: with a door for each link that begins at it."""
        if self._run_dag is None or self._run_dag[0] != len(self._ties.outputs):
            self._run_dag = len(self._ties.outputs), self.dag.with_doors(doors_of(self._ties.outputs))
        return self._run_dag[1]

    @property
    def feeds(self) -> list[tuple[Producer, tuple[int, ...]]]:
        """Its producers, each with the places of the nodes that it feeds; those that read a link come last."""
        own = [(self._producer(source), entries) for source, entries in (*self.dag.sources, *self._attached)]
        return [*own, *((link.handover, (link.place,)) for link in self._ties.inputs)]

    @property
    def producers(self) -> list[Producer]:
        """Its producers, in the order in which they were linked."""
        return [producer for producer, _ in self.feeds]

    def _producer(self, source: Source) -> Producer:
        """What reads a source; one for each, so that an iterator isn't begun twice."""
        if id(source) not in self._made:
            self._made[id(source)] = as_producer(source)
        return self._made[id(source)]

    # ---- running -------------------------------------------------------------------------------------------------

    def run(
        self,
        mode: Mode = "single",
        workers: int | None = None,
        *,
        journal: str | Path | _Default | None = DEFAULT_JOURNAL,
        fresh: bool = False,
        progress: Callable[[Progress], None] | None = None,
        flow: str | None = None,
    ) -> Report:
        """Run until the producers end and every item has its outcome.

        Ctrl-C finishes what has entered and returns; a second one quits. What was unfinished is in the journal, and the
        next run begins with it.

        Args:
            mode: "single" runs all in the calling thread, "threads" tasks in threads, "processes" tasks in processes of
                their own, which import the flow.
            workers: Threads or processes at most; None: a thread for each task, a process for each core.
            journal: Instead of the consecutor's own.
            fresh: Move a journal that is there aside, and start anew.
            progress: Called about ten times a second with a `Progress`.
            flow: Address of the flow, for modes that load it in other processes.

        Returns:
            The report; true only if all items completed and no state was lost.

        Raises:
            GraphError: There is no producer, or an argument is wrong.
            JournalError: The journal can't be used; nothing was overwritten.
            SourceError: A source can't be read; what had entered was finished first.
            UserCodeError: A node's setup or a producer's code raised.
        """
        stop_if_loading(self)
        self._check_closed()
        feeds = self.feeds
        check_fed(self, feeds)
        build = self._build(feeds, mode, workers, journal=journal, fresh=fresh, progress=progress, flow=flow)
        return run_to_end(build)

    def consume(
        self,
        items: Iterable[object],
        mode: Mode = "single",
        workers: int | None = None,
        *,
        progress: Callable[[Progress], None] | None = None,
        flow: str | None = None,
    ) -> Report:
        """Run over ``items``, which the caller keeps: nothing is journalled.

        Args:
            items: Any iterable, of any length.
            mode: As for `run`.
            workers: As for `run`.
            progress: As for `run`.
            flow: As for `run`.

        Returns:
            The report.

        Raises:
            GraphError: It has a producer already, or ``items`` can't be read.

        >>> from consecution import Collect, Consecutor
        >>> Consecutor(Collect("out")).consume(range(3)).collected["out"]
        [0, 1, 2]
        """
        stop_if_loading(self)
        self._check_closed()
        if self.feeds:
            message = (
                f"consecutor {self.name} has a producer, so consume() would add a second one; use run(), or leave the "
                "producer out"
            )
            raise GraphError(message)
        feeds: Feeds = [(as_producer(items), self._entries())]
        check_fed(self, feeds)
        return run_to_end(self._build(feeds, mode, workers, journal=None, fresh=False, progress=progress, flow=flow))

    def start(
        self,
        mode: Mode = "single",
        workers: int | None = None,
        *,
        journal: str | Path | _Default | None = DEFAULT_JOURNAL,
        fresh: bool = False,
        progress: Callable[[Progress], None] | None = None,
        flow: str | None = None,
    ) -> Running:
        """Start in a thread of its own, and push items from the program.

        Args:
            mode: As for `run`.
            workers: As for `run`.
            journal: As for `run`.
            fresh: As for `run`.
            progress: As for `run`; called from the run's thread.
            flow: As for `run`.

        Returns:
            The handle; use it as a context manager, or call its `end`, `drain` or `stop`.

        >>> from consecution import Collect, Consecutor
        >>> with Consecutor(Collect("out"), journal=None).start() as running:
        ...     receipt = running.push("a")
        ...     _ = receipt.wait()
        >>> receipt.outcome, running.report.completed
        ('completed', 1)
        """
        stop_if_loading(self)
        self._check_closed()
        pusher: Pusher | None = None
        feeds = self.feeds
        if not feeds or any(not self.dag.inputs(entry) for entry in self._free_entries()):
            pusher = Pusher(name="push")
            feeds.append((pusher, self._entries() if not feeds else self._free_entries()))
        check_fed(self, feeds)
        build = self._build(feeds, mode, workers, journal=journal, fresh=fresh, progress=progress, flow=flow)
        return Running(build, pusher)

    def replay_dead(
        self,
        numbers: Sequence[int] = (),
        *,
        journal: str | Path | _Default | None = DEFAULT_JOURNAL,
        progress: Callable[[Progress], None] | None = None,
    ) -> Report:
        """Introduce dead letters again, each as a new item that names the old one.

        Args:
            numbers: Of the dead letters, as `consecution failed list` shows them; empty for all that stand.
            journal: Instead of the consecutor's own.
            progress: As for `run`.

        Returns:
            The report of these items alone.

        Raises:
            JournalError: There is no journal, or no such dead letter.
        """
        stop_if_loading(self)
        self._check_closed()
        folder = self.journal_folder(journal)
        if not self.links:
            return run_to_end(build_replay(self.dag, self.feeds, self.settings(folder), numbers, progress=progress))

        is_elsewhere = folder is not None and folder != self.journal_folder(DEFAULT_JOURNAL)
        others = folder.parent if folder is not None and is_elsewhere else DEFAULT_JOURNAL
        return run_to_end(
            build_group_replay(
                self, folder, numbers, lambda one: one.journal_folder(_beside(others, one)), progress=progress
            )
        )

    # ---- inside --------------------------------------------------------------------------------------------------

    def _entries(self) -> tuple[int, ...]:
        return tuple(self.dag.entries)

    def _free_entries(self) -> tuple[int, ...]:
        """Entries that no producer feeds."""
        fed = {entry for _, entries in self.feeds for entry in entries}
        return tuple(entry for entry in self.dag.entries if entry not in fed)

    def _check_closed(self) -> None:
        """Refuse to run a group beside which a ``<`` was left open."""
        for one in self.group_in_order:
            if one._ties.brackets:
                refuse_unclosed(one._ties.brackets[0])

    @property
    def is_joined(self) -> bool:
        """Whether it is linked to other consecutors, with which it runs together."""
        return bool(self._ties.inputs or self._ties.outputs)

    @property
    def n_tasks(self) -> int:
        """How many tasks its nodes have together."""
        return sum(node.options.parallelism for node in self.dag.nodes)

    def journal_folder(self, journal: str | Path | _Default | None) -> Path | None:
        """Where its journal is, when a run says ``journal``; None for none."""
        if isinstance(journal, _Default):
            journal = self._journal
        if self.robustness is not Robustness.REPLAY or journal is None:
            return None
        if isinstance(journal, _Default):
            return JOURNALS / self.name if self._has_file else None
        return Path(journal)

    def settings(self, folder: Path | None) -> Settings:
        """How it is run with a journal in this folder."""
        from consecution.local.opening import Settings

        return Settings(
            name=self.name,
            level=self.robustness,
            replays_max=self.replays_max,
            timeout_s=self.timeout_s,
            pending_max=self._pending_given,
            journal=folder,
            resume=self.resume,
        )

    def _build(
        self,
        feeds: Feeds,
        mode: Mode,
        workers: int | None,
        *,
        journal: str | Path | _Default | None,
        fresh: bool,
        progress: Callable[[Progress], None] | None,
        flow: str | None = None,
    ) -> Run:
        if mode not in ("single", "threads", "processes"):
            message = f"run(mode={mode!r}): expected 'single', 'threads' or 'processes'"
            raise GraphError(message)
        _checked("workers", workers, workers is None or (_is_int(workers) and workers > 0), "a whole number, 1 or more")
        in_threads = mode == "threads"
        if mode == "processes":
            return self._build_processes(feeds, workers, flow, journal=journal, fresh=fresh, progress=progress)
        if self.is_joined:
            return build_group(
                self,
                feeds,
                lambda one: one.journal_folder(_beside(journal, one)),
                workers=workers,
                in_threads=in_threads,
                start_fresh=fresh,
                progress=progress,
            )
        return build(
            self.dag,
            feeds,
            self.settings(self.journal_folder(journal)),
            workers=workers if workers is not None else self.n_tasks,
            in_threads=in_threads,
            says_workers=workers is not None,
            start_fresh=fresh,
            progress=progress,
        )

    def _build_processes(
        self,
        feeds: Feeds,
        workers: int | None,
        flow: str | None,
        *,
        journal: str | Path | _Default | None,
        fresh: bool,
        progress: Callable[[Progress], None] | None,
    ) -> ProcessesRun | ProcessesGroup:
        from consecution.flow import parse_address
        from consecution.process.parent import ProcessesRun
        from consecution.process.settings import ProcessesSettings

        address = parse_address(flow) if flow is not None else _address_of(self.group_in_order)

        def settings_of(one: Consecutor, feeds: Feeds) -> ProcessesSettings:
            linked = [id(producer) for producer in one.producers]
            return ProcessesSettings(
                flow=address,
                workers=workers if workers is not None else max(2, os.cpu_count() or 2),
                call_timeout_s=one.call_timeout_s,
                fresh=fresh,
                can_place=all(id(producer) in linked for producer, _ in feeds),
                says_workers=workers is not None,
            )

        if self.is_joined:
            return build_processes(
                self, feeds, lambda one: one.journal_folder(_beside(journal, one)), settings_of, progress=progress
            )
        return ProcessesRun(
            self.dag, feeds, self.settings(self.journal_folder(journal)), settings_of(self, feeds), progress=progress
        )


def _address_of(members: Sequence[Consecutor]) -> FlowAddress:
    """Where the flow of a group is: any of them leads to all.

    Raises:
        GraphError: None of them is a global of a module.
    """
    from consecution.flow import find_address

    for one in members[:-1]:
        with contextlib.suppress(GraphError):
            return find_address(one)
    return find_address(members[-1])


def _beside(journal: str | Path | _Default | None, one: Consecutor) -> str | Path | _Default | None:
    """Where a consecutor of a group keeps its journal, when the run of all says ``journal``."""
    return Path(journal) / one.name if isinstance(journal, (str, Path)) else journal


def _checked(name: str, value: T, is_right: bool, expected: str) -> T:
    if not is_right:
        message = f"Consecutor: {name}={short_repr(value)}; expected {expected}"
        raise GraphError(message)
    return value


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
