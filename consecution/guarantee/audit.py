"""When the silence of everybody proves that a tree has lost something (protocol.md R13).

Rules: slowness alone proves nothing. The ledger calls rounds; everybody answers a round by naming the roots that it
has queued, in work, held, unsent, without credit or unconfirmed, on the link on which its sums travel. A tree without a
sign of life (a sum, or an audit that names it) for `timeout_s` is doubted: it is lost when its producer and everybody
in its union have answered a round that was called after that, and then a round that was called after all those answers.
Who doesn't answer counts as naming the tree: then nothing is lost, whatever the time.

Why two rounds, and why rounds at all: whoever has a frame names it, and a frame on a link is named by its sender until
it is received. If nobody names it in the first round, then its sender's answer says that the frame was received before
the second round was called; so its receiver has it when it answers the second one, or has closed it and sent a sum
ahead of the answer. Two audits by everybody's own timer don't prove that: the receiver's may be old ones, made before
it had the frame and slow to arrive, and the sender's made after it was rid of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.value import value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .messages import Incarnation, Root


@value
class AuditFired:
    """A tree was found lost by the audit: a bug of ours or of the machine, to be logged as a warning.

    Attributes:
        root: The tree.
        producer: Whom its verdict goes to.
        quiet_s: Seconds since its last sign of life.
        sent_to: To whom its frames had gone, ascending.
    """

    root: Root
    producer: Incarnation
    quiet_s: float
    sent_to: tuple[Incarnation, ...]


@value
class AuditRound:
    """A round is called: tell every living executor and producer, which answer with an `Audit` of this number."""

    number: int


@value
class _Doubt:
    last: float  # the tree's last sign of life, when the doubt came up; another one since then ends the doubt
    awaited: int  # the round that everybody must answer
    is_second: bool


class Audits:
    """The rounds, the answers, and the trees that are doubted. Not thread-safe.

    Invariant: a doubt awaits a round that has been called, or the next one.
    """

    __slots__ = ("_answers", "_doubts", "round")

    def __init__(self) -> None:
        self.round = 0
        self._answers: dict[Incarnation, int] = {}
        self._doubts: dict[Root, _Doubt] = {}

    def answer(self, incarnation: Incarnation, number: int) -> None:
        """Note that an incarnation has answered a round."""
        if number > self._answers.get(incarnation, 0):
            self._answers[incarnation] = number

    def has_answered(self, incarnation: Incarnation, number: int) -> bool:
        """Whether an incarnation has answered that round, or a later one."""
        return self._answers.get(incarnation, 0) >= number

    def is_lost(self, root: Root, last: float, members: Iterable[Incarnation]) -> bool:
        """Look at a tree that is silent since `last`; call it at each look, before `next_round`."""
        doubt = self._doubts.get(root)
        if doubt is None or doubt.last != last:
            self._doubts[root] = _Doubt(last, self.round + 1, is_second=False)
            return False
        if not all(self.has_answered(member, doubt.awaited) for member in members):
            return False
        if not doubt.is_second:
            self._doubts[root] = _Doubt(last, self.round + 1, is_second=True)
            return False
        del self._doubts[root]
        return True

    def next_round(self, silent: Collection[Root]) -> AuditRound:
        """Call the next round, and end the doubts about trees that aren't silent any more."""
        for root in [root for root in self._doubts if root not in silent]:
            del self._doubts[root]
        return self.call()

    def call(self) -> AuditRound:
        """Call a round without a look at who is doubted."""
        self.round += 1
        return AuditRound(self.round)

    def keep(self, living: frozenset[Incarnation]) -> None:
        """Forget who isn't living."""
        for incarnation in [each for each in self._answers if each not in living]:
            del self._answers[incarnation]

    def __len__(self) -> int:
        """How many trees are doubted."""
        return len(self._doubts)

    def check_invariants(self) -> None:
        """Raise AssertionError when the invariant doesn't hold."""
        assert all(doubt.awaited <= self.round + 1 for doubt in self._doubts.values())
