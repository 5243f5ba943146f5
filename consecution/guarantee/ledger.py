"""The XOR book of an acker: what is open, what is done, what is lost (protocol.md R10 to R13).

Rules. It knows roots, words and incarnations, no items and no links; time comes as an argument, and it does not log.
Per (incarnation, root) it expects what links promise (R2): each message once, in order. Every root gets one verdict:

- done, when its init was seen and its word is zero (R10). That a dead incarnation is in its union doesn't matter then:
  each of its frames is closed;
- lost, when its union names a dead incarnation, checked at every placement, init and sum (R12), with the suspects of
  that death, which came with the placement (R15); or when a frame was refused (R4); or when the audit says so (R13).

A tree whose producer is dead is dropped without a verdict (R11): nobody waits for it. A sum before its init waits until
the root's producer has answered a round (R13) that was called after the sum came. The producer makes the init before
the first frame leaves, and answers on the link on which it tells inits: so what came in the answer's place has none to
come. It is an *orphan*: its init went to an earlier incarnation of this acker, and its producer has replayed it (R12);
or it was judged so long ago that it is forgotten, while a process slept that still held a part of it.

Invariants: (1) a root is either open or judged, never both; (2) nothing open names a producer or an incarnation that is
dead; (3) nothing open is done; (4) at most `roots_max` roots are open; (5) nothing that waits for its init awaits a
round that its producer has answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from consecution.errors import CapacityError

from .audit import AuditFired as AuditFired
from .audit import AuditRound as AuditRound
from .audit import Audits
from .messages import NO_NAMES, Audit, Cause, Fail, Incarnation, Init, Placed, Root, Sum, Tick, Verdict
from .suspicion import Suspicion
from .tombstones import Tombstones

LedgerEvent: TypeAlias = Init | Sum | Placed | Audit | Tick
LedgerInstruction: TypeAlias = Verdict | AuditFired | AuditRound

DONE_KEPT = 4_096  # R2 rules out a sum after its tree is done; these few only tell us when it happens
AUDITS_A_TIMEOUT = 6
WAITS_S = 1.0  # an init that is so much later than a sum is asked for


class LedgerFull(CapacityError):
    """A new root would exceed `roots_max`; the event was not applied."""


@dataclass(slots=True)
class LedgerCounts:
    """What a ledger has seen that is no business as usual, since it was made.

    Attributes:
        audit_fired: Trees found lost by the audit; 0 unless there is a bug.
        orphans: Roots with sums and no init, given up; 0 unless an acker of this place has died or a tree was lost.
        sums_late: Sums of roots that were judged already.
        sums_of_dead: Sums and inits of dead producers, ignored.
        inits_twice: Inits of roots that had one, or were judged, ignored.
        trees_dropped: Trees whose producer died.
        lost: Lost verdicts, all reasons together.
    """

    audit_fired: int = 0
    orphans: int = 0
    sums_late: int = 0
    sums_of_dead: int = 0
    inits_twice: int = 0
    trees_dropped: int = 0
    lost: int = 0


class _Tree:
    __slots__ = (
        "awaited", "causes", "dropped", "has_init", "last", "producer", "reached", "sent_to", "unborn", "went_on",
        "word",
    )  # fmt: skip

    def __init__(self, producer: Incarnation, word: int, sent_to: frozenset[Incarnation], last: float) -> None:
        self.producer = producer
        self.word = word
        self.sent_to = sent_to
        self.last = last
        self.has_init = False
        self.awaited = 0  # without an init: the round whose answer by the producer says that none will come
        self.causes: dict[int, Cause | None] | None = None  # index -> the cause that came first
        self.went_on: set[int] | None = None  # indexes of fails that say so
        self.dropped = 0
        self.reached = NO_NAMES
        # Who isn't listed and isn't yet known -> the number from which on that means death.
        self.unborn: dict[Incarnation, int] | None = None


class Ledger:
    """The book of one acker. Not thread-safe.

    Until the first `Placed` nobody counts as dead; a run in one process gives ``Placed(1, {its incarnation})`` once.

    Args:
        timeout_s: Silence after which the audit looks at a tree, in seconds.
        roots_max: How many roots may be open.

    >>> ledger = Ledger()
    >>> ledger.handle(Init(root=5, producer=1, word=0b01, sent_to=frozenset({2})), now=0.0)
    []
    >>> [verdict] = ledger.handle(Sum(root=5, producer=1, word=0b01), now=0.1)
    >>> verdict.root, verdict.failed, verdict.lost, len(ledger)
    (5, (), False, 0)
    """

    def __init__(self, *, timeout_s: float = 30.0, roots_max: int = 100_000) -> None:
        self.timeout_s = timeout_s
        self.roots_max = roots_max
        self.counts = LedgerCounts()
        self._trees: dict[Root, _Tree] = {}
        self._number = -1
        self._living: frozenset[Incarnation] = frozenset()
        self._suspicion = Suspicion()
        self._audits = Audits()
        self._done = Tombstones(period_s=timeout_s, roots_max=DONE_KEPT)
        self._lost = Tombstones(period_s=timeout_s, roots_max=roots_max)
        self._next_look: float | None = None

    def handle(self, event: LedgerEvent, now: float) -> list[LedgerInstruction]:
        """Apply one event.

        Args:
            event: What happened.
            now: Monotonic seconds; only differences matter.

        Returns:
            Verdicts to send to their producers, warnings to log (`AuditFired`), and audit rounds to tell to all living
            executors and producers (`AuditRound`, each `timeout_s` / 6 while there is something to ask), in order.

        Raises:
            LedgerFull: A new root would exceed `roots_max`; answer its producer with a lost verdict.
        """
        if isinstance(event, Sum):
            return self._sum(event, now)
        if isinstance(event, Init):
            return self._init(event, now)
        if isinstance(event, Placed):
            return self._placed(event)
        if isinstance(event, Audit):
            return self._audit(event, now)
        return self._tick(now)

    def __len__(self) -> int:
        """How many roots are open."""
        return len(self._trees)

    @property
    def waiting(self) -> int:
        """How many of the open roots have sums and no init yet; O(open roots)."""
        return sum(not tree.has_init for tree in self._trees.values())

    @property
    def tombstones(self) -> int:
        """How many judged roots are still remembered."""
        return len(self._done) + len(self._lost)

    # -- inits and sums

    def _init(self, init: Init, now: float) -> list[LedgerInstruction]:
        root = init.root
        tree = self._trees.get(root)
        sent_to = init.sent_to
        if tree is None:
            tree = self._open(root, init, now)
            if tree is None:
                return []
            tree.word = init.word
        elif tree.has_init:
            self.counts.inits_twice += 1
            return []
        else:
            tree.word ^= init.word
            tree.last = now
            if not sent_to <= tree.sent_to:
                tree.sent_to |= sent_to
        tree.has_init = True
        if not tree.word:
            return [self._judge_done(root, tree)]
        if not sent_to <= self._living and self._names_dead(tree, sent_to, init.placement):
            return [self._judge_lost(root, tree)]
        return []

    def _sum(self, event: Sum, now: float) -> list[LedgerInstruction]:
        root = event.root
        tree = self._trees.get(root)
        sent_to = event.sent_to
        if tree is None:
            tree = self._open(root, event, now)
            if tree is None:
                return []
            tree.awaited = self._audits.round + 1
        tree.word ^= event.word
        tree.last = now
        if event.fails:
            self._unite_fails(tree, event.fails)
        if event.dropped:
            tree.dropped += event.dropped
        if event.reached:
            tree.reached |= event.reached
        if event.refused:
            return [self._judge_lost(root, tree)]
        if not tree.word and tree.has_init:
            return [self._judge_done(root, tree)]
        if sent_to:
            if not sent_to <= tree.sent_to:
                tree.sent_to |= sent_to
            if not sent_to <= self._living and self._names_dead(tree, sent_to, event.placement):
                return [self._judge_lost(root, tree)]
        return []

    def _open(self, root: Root, event: Init | Sum, now: float) -> _Tree | None:
        """Open a tree; None when the root is judged already or its producer is dead, so that the event is ignored."""
        if root in self._lost or root in self._done:
            if isinstance(event, Init):
                self.counts.inits_twice += 1
            else:
                self.counts.sums_late += 1
            return None
        producer = event.producer
        is_listed = producer in self._living
        if not is_listed and event.placement <= self._number:
            self.counts.sums_of_dead += 1
            return None
        if len(self._trees) >= self.roots_max:
            message = (
                f"ledger has {len(self._trees)} open roots; expected at most roots_max={self.roots_max}: "
                "lower pending_max of the producers, or use more ackers"
            )
            raise LedgerFull(message)
        tree = self._trees[root] = _Tree(producer, 0, event.sent_to, now)
        if not is_listed and (self._number >= 0 or event.placement):
            tree.unborn = {producer: event.placement}
        return tree

    def _unite_fails(self, tree: _Tree, fails: tuple[Fail, ...]) -> None:
        if tree.causes is None:
            tree.causes, tree.went_on = {}, set()
        assert tree.went_on is not None
        for fail in fails:
            for index in fail.indexes:
                tree.causes.setdefault(index, fail.cause)
            if fail.went_on:
                tree.went_on.update(fail.indexes)

    # -- deaths

    def _names_dead(self, tree: _Tree, named: frozenset[Incarnation], placement: int) -> bool:
        """Whether a message of that placement names a dead incarnation; notes those that are not yet known (R5)."""
        if placement <= self._number:
            return True  # somebody isn't listed, or we wouldn't be here, and all of them were born by then
        if tree.unborn is None:
            tree.unborn = {}
        for incarnation in named - self._living:
            tree.unborn[incarnation] = min(placement, tree.unborn.get(incarnation, placement))
        return False

    def _is_dead(self, tree: _Tree, incarnation: Incarnation) -> bool:
        if incarnation in self._living:
            return False
        return tree.unborn is None or tree.unborn.get(incarnation, self._number) <= self._number

    def _placed(self, placed: Placed) -> list[LedgerInstruction]:
        if placed.number <= self._number:
            return []
        self._number = placed.number
        self._living = living = frozenset(placed.living)
        for suspects in placed.suspects:
            self._suspicion.add(suspects, self._lost)
        self._audits.keep(living)
        verdicts: list[LedgerInstruction] = []
        for root, tree in list(self._trees.items()):
            if self._is_dead(tree, tree.producer):
                del self._trees[root]
                self._suspicion.take(root)
                self._lost.add(root)
                self.counts.trees_dropped += 1
            elif not tree.sent_to <= living and any(self._is_dead(tree, each) for each in tree.sent_to):
                verdicts.append(self._judge_lost(root, tree))
        return verdicts

    # -- verdicts

    def _judge_done(self, root: Root, tree: _Tree) -> Verdict:
        del self._trees[root]
        self._done.add(root)
        if self._suspicion:
            self._suspicion.take(root)
        if tree.causes is None or tree.went_on is None:
            return Verdict(root, tree.producer, (), False, (), None, False, tree.dropped, tree.reached)
        alike: dict[tuple[Cause | None, bool], list[int]] = {}
        for index, cause in sorted(tree.causes.items(), key=_index):
            alike.setdefault((cause, index in tree.went_on), []).append(index)
        failed = tuple(Fail(root, tuple(indexes), cause, went_on) for (cause, went_on), indexes in alike.items())
        return Verdict(root, tree.producer, failed, dropped=tree.dropped, reached=tree.reached)

    def _judge_lost(self, root: Root, tree: _Tree) -> Verdict:
        del self._trees[root]
        if tree.has_init:
            self._lost.add(root)
        else:
            self._lost.add_awaiting(root, tree.producer, self._audits.round + 1)
        self.counts.lost += 1
        blames = self._suspicion.take(root)
        return Verdict(
            root,
            tree.producer,
            lost=True,
            suspects=tuple(sorted({index for blame in blames for index in blame.indexes})),
            crash=blames[0].crash if blames else self._suspicion.crash_of(tree.sent_to),
            charged=bool(blames) and all(blame.is_alone for blame in blames),
            reached=tree.reached,
        )

    # -- audit and age

    def _audit(self, audit: Audit, now: float) -> list[LedgerInstruction]:
        if self._number >= 0 and audit.incarnation not in self._living:
            return []
        if audit.number > self._audits.round:
            return []  # it answers what wasn't asked
        self._audits.answer(audit.incarnation, audit.number)
        for root in audit.roots:
            tree = self._trees.get(root)
            if tree is not None:
                tree.last = now
            elif root in self._lost:
                self._lost.add(root)  # somebody still has frames of it, so sums of it may still come
        self._give_up_orphans(audit)
        return []

    def _give_up_orphans(self, audit: Audit) -> None:
        """Forget what waits for an init of this producer that it would have told before this answer."""
        for root, tree in list(self._trees.items()):
            if not tree.has_init and tree.producer == audit.incarnation and tree.awaited <= audit.number:
                del self._trees[root]
                self._suspicion.take(root)
                self._lost.add(root)
                self.counts.orphans += 1

    def _tick(self, now: float) -> list[LedgerInstruction]:
        self._lost.age(now, self._has_told_all)
        self._done.age(now)
        if self._next_look is not None and now < self._next_look:
            return [self._audits.call()] if self._must_ask(now - WAITS_S) else []
        self._next_look = now + self.timeout_s / AUDITS_A_TIMEOUT
        instructions: list[LedgerInstruction] = []
        latest = now - self.timeout_s
        silent = {root: tree for root, tree in self._trees.items() if tree.last <= latest}
        for root, tree in silent.items():
            if not self._audits.is_lost(root, tree.last, tree.sent_to | {tree.producer}):
                continue
            assert tree.has_init, "(5)"
            self.counts.audit_fired += 1
            quiet_s = now - tree.last
            instructions.append(AuditFired(root, tree.producer, quiet_s, tuple(sorted(tree.sent_to))))
            instructions.append(self._judge_lost(root, tree))
        if self._trees or self._lost:
            instructions.append(self._audits.next_round(silent))
        return instructions

    def _has_told_all(self, producer: Incarnation, round_: int) -> bool:
        """Whether a producer has told all inits that it told before it heard of a round, or is dead."""
        return producer not in self._living or self._audits.has_answered(producer, round_)

    def _must_ask(self, latest: float) -> bool:
        """Whether something has waited for its init since then, and no round was called meanwhile."""
        round_ = self._audits.round
        return any(not tree.has_init and tree.awaited > round_ and tree.last <= latest for tree in self._trees.values())

    def check_invariants(self) -> None:
        """Raise AssertionError when an invariant of the module doesn't hold."""
        assert len(self._trees) <= self.roots_max, "(4)"
        for root, tree in self._trees.items():
            assert root not in self._lost, f"(1) {root:x}"
            assert root not in self._done, f"(1) {root:x}"
            assert not (tree.has_init and tree.word == 0), f"(3) {root:x}"
            assert tree.has_init or not self._audits.has_answered(tree.producer, tree.awaited), f"(5) {root:x}"
            if self._number >= 0:
                for incarnation in tree.sent_to | {tree.producer}:
                    assert not self._is_dead(tree, incarnation), f"(2) {root:x} names {incarnation:x}"
        self._suspicion.check_invariants()
        self._audits.check_invariants()
        self._done.check_invariants()
        self._lost.check_invariants()


def _index(entry: tuple[int, Cause | None]) -> int:
    return entry[0]
