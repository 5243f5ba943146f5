"""One outcome for each item, over random verdicts, losses, suspects, acker deaths and restarts from a journal."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from consecution.guarantee.messages import Cause, Fail, Verdict
from consecution.guarantee.ranges import Ranges
from tests.unit.guarantee.builders import BOOM, CRASH, PRODUCER, CheckedWindow, make_window

if TYPE_CHECKING:
    from consecution.guarantee.changes import Changes
    from consecution.guarantee.window import Batch

REPLAYS_MAX = 2


class Driver:
    """Feeds a window, gives it random verdicts, journals what it says, and sometimes starts it again."""

    def __init__(self, seed: int, *, suspects_alone: bool) -> None:
        self.rng = random.Random(seed)
        self.options: dict[str, Any] = {
            "suspects_alone": suspects_alone,
            "pending_max": self.rng.randint(1, 30),
            "replays_max": REPLAYS_MAX,
        }
        self.window: CheckedWindow = make_window(**self.options)
        self.now = 0.0
        self.out: list[Batch] = []
        self.old: list[Batch] = []
        self.outcomes: dict[int, str] = {}
        self.attempts: dict[int, tuple[int, bool]] = {}
        self.charged: dict[int, int] = {}

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step(is_ending=False)
        for _ in range(5_000):
            if self.window.is_idle:
                break
            self.step(is_ending=True)
        assert sorted(self.outcomes) == list(range(self.window.next_seq))
        assert (self.window.mark, list(self.window.finished)) == (self.window.next_seq, [])
        assert self.window.next_replay_at() is None

    def step(self, *, is_ending: bool) -> None:
        self.now += self.rng.choice((0.0, 0.1, 5.0))
        roll = self.rng.random()
        count = min(self.window.room(), self.rng.randint(0, 12))
        if count and not is_ending:
            first = self.window.next_seq
            self.out.append(self.window.introduce(list(range(first, first + count)), self.now))
        if self.out and roll < 0.7:
            batch = self.out.pop(self.rng.randrange(len(self.out)))
            self.window.settle(self.verdict(batch, is_ending=is_ending), self.now)
            self.old.append(batch)
        elif self.old and roll < 0.75:
            late = self.verdict(self.rng.choice(self.old), is_ending=False, is_late=True)
            self.window.settle(late, self.now)
        elif roll < 0.77 and not is_ending:
            self.window.ackers_died(lambda root: root % 2 == 0, self.now)
            self.old += [batch for batch in self.out if batch.root % 2 == 0]
            self.out = [batch for batch in self.out if batch.root % 2 == 1]
        elif roll < 0.79 and not is_ending:
            self.restart()
        self.commit(self.window.take_changes())
        for batch in self.window.replays(self.now):
            assert batch.items == list(batch.seqs), "a replay carries other items than those of its numbers"
            assert len(batch.seqs) == 1 or not any(seq in self.attempts for seq in batch.seqs), "R14"
            self.out.append(batch)
        self.commit(self.window.take_changes())

    def verdict(self, batch: Batch, *, is_ending: bool, is_late: bool = False) -> Verdict:
        some = tuple(index for index in range(len(batch.seqs)) if self.rng.random() < 0.2)
        kind = self.rng.choice(("done", "failed", "lost", "suspects") if not is_ending else ("done", "failed"))
        if kind == "done" or (kind != "lost" and not some):
            return Verdict(batch.root, PRODUCER)
        if kind == "failed":
            self.charge(batch, () if is_late else some)
            return Verdict(batch.root, PRODUCER, (Fail(batch.root, some, BOOM),))
        if kind == "lost":
            return Verdict(batch.root, PRODUCER, lost=True)
        is_charged = len(some) == 1
        self.charge(batch, some if is_charged and not is_late else ())
        return Verdict(batch.root, PRODUCER, lost=True, suspects=some, crash=CRASH, charged=is_charged)

    def charge(self, batch: Batch, indexes: tuple[int, ...]) -> None:
        for index in indexes:
            self.charged[batch.seqs[index]] = self.charged.get(batch.seqs[index], 0) + 1

    def commit(self, changes: Changes) -> None:
        for seq in [seq for each in changes.completed for seq in each]:
            assert seq not in self.outcomes
            self.outcomes[seq] = "completed"
        for dead in changes.dead:
            assert dead.seq not in self.outcomes
            assert (dead.attempts, dead.item) == (1 + REPLAYS_MAX, dead.seq)
            assert self.charged[dead.seq] == dead.attempts, "an attempt that nobody charged"
            assert isinstance(dead.cause, Cause)
            self.outcomes[dead.seq] = "dead"
        for attempt in changes.attempts:
            assert attempt.attempts == self.charged.get(attempt.seq, 0) <= REPLAYS_MAX
            self.attempts[attempt.seq] = (attempt.attempts, attempt.suspect)

    def restart(self) -> None:
        self.commit(self.window.take_changes())
        finished = Ranges(self.window.mark, list(self.window.finished))
        first_seq = self.window.next_seq
        self.old, self.out = [], []
        self.window = make_window(**self.options, first_seq=first_seq, finished=finished)
        for gap in finished.copy().missing(first_seq):
            for seq in gap:
                self.window.resume(seq, seq, *self.attempts.get(seq, (0, False)))
        self.window.check_invariants()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), suspects_alone=st.booleans())
def test_every_item_has_one_outcome_and_no_attempt_that_nobody_charged(seed: int, suspects_alone: bool) -> None:
    Driver(seed, suspects_alone=suspects_alone).run(150)
