"""What the children of a run tell of its items: letters, counts, and what was collected.

Rules of this module: it counts and keeps; it speaks with nobody. Counts of producers come from where they run, with
their journal; what failed elsewhere and is no item of a producer is counted here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consecution.errors import SourceError, UserCodeError
from consecution.guarantee.levels import Robustness
from consecution.report import Failure, Progress, Report
from consecution.wire.codec import unpack, unpack_items
from consecution.wire.control import Collected, Told

if TYPE_CHECKING:
    from consecution.graph import Dag
    from consecution.local.intake import Intake
    from consecution.wire.control import Letter

FAILURES_MAX = 1000


class RunTally:
    """What a run has come to so far.

    Args:
        level: The consecutor's robustness.

    Attributes:
        state_lost: Accumulating nodes whose result isn't certain.
        source_error: Why a source in a child can't be read on.
        source_is_code: It was user code that raised there.
        source_trace: Where in it; empty when it wasn't user code.
    """

    def __init__(self, level: Robustness) -> None:
        self._failures: dict[tuple[str, int], Failure] = {}  # by producer and seq; what has none, by a number below 0
        self.state_lost: frozenset[str] = frozenset()
        self.source_error: str | None = None
        self.source_is_code = False
        self.source_trace = ""
        self._level = level
        self._node_failures = 0
        self._unnumbered = 0
        self._feeds = Told(0)
        self._collected: dict[int, dict[str, list[Any]]] = {}
        self._audits_fired: dict[int, int] = {}

    def start_over(self) -> None:
        """Forget the pass; its dead letters are void, or come again from the journal."""
        self._failures.clear()
        self._node_failures = 0
        self._feeds = Told(0)
        self._collected.clear()

    def told(self, told: Told, intake: Intake | None, *, has_feeds: bool) -> None:
        """Take what a child told.

        Args:
            told: By the child.
            intake: The producers of this process; None when a child has them.
            has_feeds: It was the child with the producers.
        """
        self.state_lost |= told.state_lost
        for letter in told.letters:
            failure = failure_of(letter)
            if intake is not None:
                intake.tally.node_failures += 1
                intake.tally.add(failure)
                continue
            self._node_failures += not has_feeds
            self._keep(failure)
        if told.feeds:
            self._feeds = told
        if told.source_error is not None:
            self.source_error, self.source_is_code = told.source_error, told.source_is_code
            self.source_trace = told.source_trace

    def audited(self, acker: int, audits_fired: int) -> None:
        """Take how many trees an acker's audit has found lost, in all; what a dead one found goes on counting.

        Args:
            acker: Its process id.
            audits_fired: As it told last.
        """
        self._audits_fired[acker] = audits_fired

    def _keep(self, failure: Failure) -> None:
        """Keep a failure once: an executor that is started again tells those of before too."""
        key = failure.producer, failure.seq
        if failure.seq < 0:
            self._unnumbered += 1
            key = "", -self._unnumbered
        self._failures.setdefault(key, failure)
        if len(self._failures) > FAILURES_MAX:
            del self._failures[next(iter(self._failures))]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The newest failures, when the producers run in a child."""
        return tuple(self._failures.values())

    def collect(self, message: Collected) -> None:
        """Keep what nodes collected."""
        mine = self._collected.setdefault(message.task, {})
        for name, packed in message.items.items():
            mine.setdefault(name, []).extend(unpack_items(packed))

    def collected(self, dag: Dag) -> dict[str, list[Any]]:
        """What all Collect nodes collected, by name, in order of the tasks."""
        found: dict[str, list[Any]] = {}
        for task in sorted(self._collected):
            for name, items in self._collected[task].items():
                found.setdefault(name, []).extend(items)
        for name, node in zip(dag.names, dag.nodes, strict=True):
            if type(node).__name__ == "Collect":
                found.setdefault(name, [])
        return found

    def progress(self, elapsed_s: float, intake: Intake | None = None) -> Progress:
        """Where the run stands.

        Args:
            elapsed_s: Since its start.
            intake: The producers of this process; None when a child has them, which told.
        """
        if intake is not None:
            tally = intake.tally
            return Progress(
                introduced=intake.introduced,
                completed=intake.completed,
                failed=tally.failed + tally.node_failures,
                replayed=tally.replayed,
                in_flight=intake.in_flight,
                elapsed_s=elapsed_s,
                waiting_for=intake.waiting_for(),
            )
        feeds = self._feeds.feeds
        node_failures = self._feeds.node_failures + self._node_failures
        introduced = sum(feed.introduced for feed in feeds)
        completed = sum(feed.completed for feed in feeds)
        if self._level is Robustness.NONE:
            completed = max(0, introduced - node_failures)
        return Progress(
            introduced=introduced,
            completed=completed,
            failed=sum(feed.failed for feed in feeds) + node_failures,
            replayed=sum(feed.replayed for feed in feeds),
            in_flight=sum(feed.in_flight for feed in feeds),
            elapsed_s=elapsed_s,
            waiting_for=next((feed.waiting_for for feed in feeds if feed.waiting_for), None),
        )

    def report(self, dag: Dag, elapsed_s: float, intake: Intake | None, *, is_finished: bool) -> Report:
        """What the run has come to.

        Args:
            dag: The graph.
            elapsed_s: How long it took.
            intake: The producers of this process; None when a child has them, which told.
            is_finished: It came to its end, and wasn't drained or stopped.

        Raises:
            SourceError: A source couldn't be read to its end.
            UserCodeError: A producer's code raised.
        """
        if intake is not None and intake.error is not None:
            raise intake.error
        if self.source_error is not None:
            error = (UserCodeError if self.source_is_code else SourceError)(self.source_error)
            if self.source_trace:
                error.add_note(f"In the executor:\n{self.source_trace.rstrip()}")
            raise error
        progress = self.progress(elapsed_s, intake)
        dropped, failures, lost = sum(feed.dropped for feed in self._feeds.feeds), self.failures, self.state_lost
        if intake is not None:
            dropped, failures = intake.tally.dropped, tuple(intake.tally.failures)
            lost |= intake.tally.state_lost
        return Report(
            introduced=progress.introduced,
            completed=progress.completed,
            failed=progress.failed,
            replayed=progress.replayed,
            dropped=dropped,
            elapsed_s=elapsed_s,
            failures=failures,
            collected=self.collected(dag),
            state_lost=lost,
            is_finished=is_finished,
            audits_fired=sum(self._audits_fired.values()),
        )


def failure_of(letter: Letter) -> Failure:
    """A dead letter as reports name it; an item that couldn't travel is its repr."""
    item = unpack(letter.item) if letter.item is not None else letter.item_repr or None
    return Failure(letter.producer, letter.seq, item, letter.attempts, letter.cause)
