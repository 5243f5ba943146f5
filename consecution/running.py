"""Running: the handle of a consecutor that was started; and how any run is run to its end.

Rules of this module: it knows runs of every mode alike, by what they run, drain, stop and close.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from typing import TYPE_CHECKING, Self, TypeAlias

from consecution.errors import ConsecutionError, GraphError, short_repr
from consecution.local.collector import rarely_collected
from consecution.local.receipts import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    from consecution.local.build import Build
    from consecution.local.group import GroupRun
    from consecution.process.group import ProcessesGroup
    from consecution.process.parent import ProcessesRun
    from consecution.producers.pusher import Pusher
    from consecution.report import Progress, Report

    Run: TypeAlias = "Build | GroupRun | ProcessesRun | ProcessesGroup"

log = logging.getLogger(__name__)

TAKEN_LOOK_S = 0.5


class Running:
    """A consecutor that was started; thread-safe.

    Attributes:
        report: The report once it has ended, else None.
    """

    def __init__(self, build: Run, pusher: Pusher | None) -> None:
        self.report: Report | None = None
        self._build = build
        self._pusher = pusher
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="consecution-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Give the handle itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End in good order; after an exception, stop."""
        if kind is None:
            self.end()
        else:
            self.stop()

    def push(self, item: object, *, key: str | None = None, timeout: float | None = None) -> Receipt:
        """Hand one item over; it is in the journal when this returns.

        Args:
            item: The item.
            key: An idempotency key: pushed again under it within 24 hours, also after a restart, the item isn't taken
                again, and the receipt is that of the first one. Needs a journal.
            timeout: Seconds to wait while the pipeline is full; None waits.

        Returns:
            Its receipt.

        Raises:
            CapacityError: The pipeline stayed full for ``timeout`` seconds.
            SourceError: The handle was drained, stopped or ended.
            GraphError: The flow has producers for all of its entries, so nothing can be pushed.
        """
        if self._pusher is None:
            message = (
                "nothing can be pushed: producers feed all entries of this flow; leave one entry without a producer"
            )
            raise GraphError(message)
        receipt = Receipt()
        self._pusher.push(item, key=key, token=receipt, timeout_s=timeout)
        while not receipt._wait_taken(TAKEN_LOOK_S):
            if not self._thread.is_alive():
                message = (
                    f"the run ended before it took {short_repr(item)}; see the handle's end() for why: push it again"
                )
                raise ConsecutionError(message) from self._error
        return receipt

    def end(self) -> Report:
        """Take no more items, finish all with ``finish``, and give the report."""
        if self._pusher is not None:
            self._pusher.end()
        return self._join()

    def drain(self) -> Report:
        """Take no more items, finish what entered, and give the report; ``finish`` isn't called."""
        if self._pusher is not None:
            self._pusher.end()
        self._build.engine.drain()
        return self._join()

    def stop(self) -> Report:
        """Stop after the work in hand; what is unfinished stays in the journal for the next start."""
        if self._pusher is not None:
            self._pusher.end()
        self._build.engine.stop()
        return self._join()

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, whatever became of it; `end` gives the report or raises why."""
        return not self._thread.is_alive()

    @property
    def processes(self) -> list[tuple[str, int, int]]:
        """The processes of mode "processes": (role, index, process id), role "executor" or "acker"; [] otherwise."""
        found: list[tuple[str, int, int]] = getattr(self._build, "processes", [])
        return found

    @property
    def progress(self) -> Progress:
        """Where it stands."""
        return self._build.engine.progress()

    def _run(self) -> None:
        try:
            self.report = finished(self._build)
        except BaseException as error:  # raised again where the user waits
            self._error = error
        finally:
            if self._pusher is not None:
                self._pusher.end()  # who waits in push() hears of it

    def _join(self) -> Report:
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self.report is not None
        return self.report


def finished(build: Run) -> Report:
    """Run, and close what has to be closed whatever happens."""
    is_finished = False
    try:
        with rarely_collected():
            report = build.engine.run()
        is_finished = report.is_finished
    finally:
        build.close(is_finished=is_finished)
    return report


def run_to_end(build: Run) -> Report:
    """Run in the calling thread; signals drain it."""
    with _signals(build):
        return finished(build)


@contextlib.contextmanager
def _signals(build: Run) -> Iterator[None]:
    """First Ctrl-C or SIGTERM drains, the second one quits; only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen = 0

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            build.engine.stop()
            raise KeyboardInterrupt
        left = build.engine.progress().in_flight
        what = f"once the {left:,} items in work are finished" if left else "now"
        log.warning("stopping %s; once more (%s) to quit at once", what, signal.Signals(number).name)
        build.engine.drain()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
