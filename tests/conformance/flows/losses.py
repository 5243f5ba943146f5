"""Flows that lose something behind the protocol's back, between a link and what it is for: no fault of the model.

Rules of this module: it is planted from inside, by a node's `setup`, so that it happens in whichever process has that
node, and the product needs no switch for it. Once in a run, and undone at the end: in some modes that process is the
test's own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from consecution import Consecutor, GeneratorProducer, Map, Node
from consecution.executor.core import ExecutorCore
from consecution.executor.frames import Frame
from consecution.guarantee.words import RunningWords
from tests.conformance.flows import collect, cons, note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consecution.guarantee.messages import Sum

ITEMS = 30
TIMEOUT_S = 0.3


def told(what: int) -> None:
    """Write down when it was lost, and of how many items it is known to be, or 0."""
    note("lost", (time.time(), what))


class Loses(Node):
    """Passes items on, in a process that loses the first that it can."""

    def setup(self) -> None:
        self.undo = self.plant() if note("planted", self.name) == 0 else None

    def plant(self) -> Callable[[], None]:
        raise NotImplementedError

    def process(self, item: int) -> None:
        note("came", (time.time(), item))
        self.push(item)

    def teardown(self) -> None:
        if self.undo is not None:
            self.undo()


class LosesFrame(Loses):
    """A frame that the link has confirmed never comes to its task."""

    def plant(self) -> Callable[[], None]:
        real = ExecutorCore._arrived

        def arrived(core: ExecutorCore, task: Any, sender: int, message: Any) -> None:
            if isinstance(message, Frame) and all(one >= 0 for one in task.upstream):  # no frame of a producer's
                ExecutorCore._arrived = real  # type: ignore[method-assign]
                told(len(message.items))
                return
            real(core, task, sender, message)

        ExecutorCore._arrived = arrived  # type: ignore[method-assign]
        return lambda: setattr(ExecutorCore, "_arrived", real)


class LosesWord(Loses):
    """A word of a task that closes frames is never heard by the acker."""

    def plant(self) -> Callable[[], None]:
        real = RunningWords.take

        def take(words: RunningWords, placement: int = 0) -> list[Sum]:
            sums = real(words, placement)
            if sums and not sums[-1].sent_to:
                RunningWords.take = real  # type: ignore[method-assign]
                told(0)
                return sums[:-1]
            return sums

        RunningWords.take = take  # type: ignore[method-assign]
        return lambda: setattr(RunningWords, "take", real)


def trickle(position: int) -> Iterator[int]:
    for number in range(position, ITEMS):
        time.sleep(0.005)
        yield number


def flow_with(node: Node) -> Consecutor:
    dag = GeneratorProducer(trickle) | Map(abs, grouping="shuffle") | node | collect("out")
    return cons(dag, timeout_s=TIMEOUT_S)


def loses_frame() -> Consecutor:
    return flow_with(LosesFrame(grouping="shuffle"))


def loses_word() -> Consecutor:
    return flow_with(LosesWord(grouping="shuffle"))


def loses_nothing() -> Consecutor:
    return flow_with(Map(abs, grouping="shuffle"))
