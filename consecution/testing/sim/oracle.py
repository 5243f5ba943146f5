"""What really happened: true trees, outcomes and charges, counted without XOR, and compared with what is claimed.

Rules of this module: it sees what user code sees (values, calls), what journals keep, and what links carry; it looks
into no core. Whatever contradicts a promise raises `Violation`.

How trees are counted: whenever a producer's item comes to an entry node, that node opens a *token* for it. Every value
names the tokens that it was made of. A push opens the token once for each task that the value goes to, the call that
takes the value closes it. So a token is at zero exactly when nothing of that pass through the graph is left.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from consecution.guarantee.messages import Init
from consecution.testing.sim.promises import Promise, Violation
from consecution.wire.messages import Data, Sums, Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from consecution.guarantee.messages import Fail, Incarnation, Verdict
    from consecution.journal.base import Restored, Round
    from consecution.testing.sim.sums import Summed
    from consecution.testing.sim.ticks import Ticks
    from consecution.wire.messages import Message

Item = int
Seq = tuple[str, int]
"""Name of a producer, and the number of one of its items."""


@dataclass(slots=True)
class Token:
    """One pass of an item through the graph, from one entry node on.

    Attributes:
        item: Whose.
        entry: Name of the entry node.
        open: Values made of it that nobody has taken yet.
        is_failed: A call on a value that was made of it has raised.
    """

    item: Item
    entry: str
    open: int = 1
    is_failed: bool = False


@dataclass(slots=True)
class Tree:
    """What went out under one root.

    Attributes:
        producer: Name.
        folder: Of the journal.
        seqs: Its items, by index.
        token: First token that a pass of it can have opened.
        touched: To whom frames of it went.
        acker: To whom its init went.
        verdict: As that acker told it.
        is_refused: A frame of it was refused from a living sender (R4).
    """

    producer: str
    folder: str
    seqs: tuple[int, ...]
    token: int
    touched: set[Incarnation] = field(default_factory=set)
    acker: Incarnation | None = None
    verdict: Verdict | None = None
    is_refused: bool = False


class Oracle:
    """The truth about one simulated run.

    Args:
        entries: By producer, the names of the entry nodes that it feeds.
        attempts_max: 1 + replays_max.
        ticks: What timers push.
        sums: What nodes sum in memory.

    Attributes:
        items: (producer, seq) to item.
        outcomes: (producer, seq) to "completed" or "dead", by the folder of the journal that says so.
        dead: Incarnations that some placement has left out, or that died unlisted.
        broken: What nodes have found; whoever runs the world raises it.
        verdicts: How many there were.
        raised: Exceptions of nodes, one for each value.
        is_planted: A fault outside of the model was planted: the audit may find something lost.
    """

    def __init__(self, entries: dict[str, tuple[str, ...]], attempts_max: int, ticks: Ticks, sums: Summed) -> None:
        self.ticks = ticks
        self.sums = sums
        self._entries = entries
        self._attempts_max = attempts_max
        self.items: dict[Seq, Item] = {}
        self.outcomes: dict[str, dict[Seq, str]] = {}
        self.broken: Violation | None = None
        self._ever: dict[Seq, str] = {}  # also what a power cut took since: the coordinator may have heard of it
        self._home: dict[str, str] = {}  # the journal that decides, by producer
        self.dead: set[Incarnation] = set()
        self.tokens: list[Token] = []
        self._tokens_of: dict[tuple[Item, str], list[int]] = {}
        self._trees: dict[int, Tree] = {}
        self._root_of: dict[tuple[str, Seq], int] = {}
        self._charges: Counter[Item] = Counter()
        self._charged: dict[Seq, int] = {}
        self._copies: list[Incarnation | None] = []
        self._hops: dict[tuple[int, int], int] = {}
        self._keys: dict[tuple[str, int], int] = {}
        self.verdicts = 0
        self.raised = 0
        self.is_planted = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Running copies of nodes all speak to the one oracle."""
        return self

    # ---- what nodes say ------------------------------------------------------------------------------------------

    def set_up(self, incarnation: Incarnation) -> int:
        """A running copy of a node was set up in a process; gives the copy's number."""
        self._copies.append(incarnation)
        return len(self._copies) - 1

    def torn_down(self, copy: int) -> None:
        """A running copy of a node is no more."""
        self.ticks.ends(copy, is_good=self._copies[copy] not in self.dead)
        self._copies[copy] = None

    def enters(self, item: Item, entry: str) -> int:
        """An item has come to an entry node; gives its token, which this call has taken already."""
        number = len(self.tokens)
        self.tokens.append(Token(item, entry, open=0))
        self._tokens_of.setdefault((item, entry), []).append(number)
        return number

    def takes(self, me: int, hop: Sequence[int], tokens: Iterable[int]) -> None:
        """A running copy takes a value into a call: pushed by the copy ``hop[0]`` as its push number ``hop[1]``."""
        sender, number = hop
        before = self._hops.get((sender, me), -1)
        if number <= before:
            raise self._found(Promise.ORDER, f"push {number} of copy {sender} came to copy {me} after push {before}")
        self._hops[sender, me] = number
        for token in tokens:
            self.tokens[token].open -= 1
            if self.tokens[token].open < 0:
                raise self._found(Promise.NOT_EARLY, f"a value of {self.tokens[token]} was taken twice in one attempt")

    def _found(self, promise: Promise, what: str) -> Violation:
        """Note what a node found: its runner takes what a node raises for a failed item."""
        self.broken = self.broken or Violation(promise, what)
        return self.broken

    def pushes(self, tokens: Iterable[int], times: int) -> None:
        """A value goes to so many tasks."""
        for token in tokens:
            self.tokens[token].open += times

    def raises(self, tokens: Iterable[int]) -> None:
        """A call on a value raises."""
        self.raised += 1
        for token in tokens:
            self.tokens[token].is_failed = True
        for item in {self.tokens[token].item for token in tokens}:
            self._charges[item] += 1

    def passes(self, seq: Seq) -> list[tuple[str, list[Token]]]:
        """The passes of an item so far, by entry node."""
        return [(entry, [self.tokens[n] for n in tokens]) for entry, tokens in self.tokens_of(seq)]

    def tokens_of(self, seq: Seq) -> list[tuple[str, list[int]]]:
        """Numbers of the tokens of an item so far, by entry node."""
        item = self.items[seq]
        return [(entry, self._tokens_of.get((item, entry), [])) for entry in self._entries[seq[0]]]

    def keyed(self, node: str, key: int, copy: int) -> None:
        """A value with this key came to this running copy of a node that is grouped by key."""
        if self._copies[copy] in self.dead:
            return  # it hasn't heard yet that it is dead: what it does counts for nothing
        known = self._keys.get((node, key), copy)
        if known != copy and (owner := self._copies[known]) is not None and owner not in self.dead:
            what = f"key {key} of node {node} came to copies {known} and {copy}, and both live"
            raise self._found(Promise.ORDER, what)
        self._keys[node, key] = copy

    def died(self, incarnation: Incarnation, runs: Iterable[tuple[int, int, int]]) -> None:
        """A process died with this in its crash slot; one item alone may be charged for it (R15)."""
        self.dead.add(incarnation)
        seqs: set[Seq] = set()
        for root, first, count in runs:
            tree = self._trees.get(root)
            if tree is not None:
                seqs |= {(tree.producer, seq) for seq in tree.seqs[first : first + count]}
        if not seqs:  # the only one under way is charged while items go one by one
            seqs = self._alone()
        if len(seqs) == 1:
            self._charges[self.items[seqs.pop()]] += 1

    def _alone(self) -> set[Seq]:
        """The item that is under way when there is one alone; else nothing."""
        trees = [self._trees[root] for root in set(self._root_of.values())]
        out = [tree for tree in trees if tree.verdict is None and tree.acker not in self.dead]
        return {(tree.producer, seq) for tree in out for seq in tree.seqs} if len(out) == 1 else set()

    # ---- what journals keep --------------------------------------------------------------------------------------

    def reads(self, producer: str, seq: int, item: Item) -> None:
        """Say which item a number of a re-readable source is."""
        self.items[producer, seq] = item

    def appended(self, folder: str, producer: str, first_seq: int, items: list[Any]) -> Callable[[], None]:
        """See `JournalWatch.appended`."""
        for seq, row in enumerate(items, first_seq):
            self.items[producer, seq] = row[1]
        return lambda: None

    def rooted(self, folder: str, producer: str, root: int, seqs: Sequence[int]) -> None:
        """See `JournalWatch.rooted`; checks that nothing is sent again without a reason (c)."""
        if root in self._trees:
            raise Violation(Promise.ONE_OUTCOME, f"root {root:x} is used twice")
        for seq in seqs:
            if (producer, seq) in self.outcomes[folder]:
                raise Violation(Promise.ONE_OUTCOME, f"item {seq} of {producer} has its outcome, and is sent again")
            before = self._root_of.get((folder, (producer, seq)))
            if before is not None:
                self._check_replay(producer, seq, before)
            self._root_of[folder, (producer, seq)] = root
        self._trees[root] = Tree(producer, folder, tuple(seqs), len(self.tokens))

    def _check_replay(self, producer: str, seq: int, before: int) -> None:
        tree = self._trees[before]
        verdict = tree.verdict
        if verdict is None or verdict.lost or tree.acker in self.dead:
            return  # its producer or its acker died, or the tree has lost something: checked where that is told
        if not _names(verdict, tree.seqs.index(seq)):
            raise Violation(
                Promise.GUILTY_ALONE,
                f"item {seq} of {producer} is replayed, but its tree {before:x} was done without fail",
            )

    def forget_life(self, folder: str) -> None:
        """The process that had this journal died: what it had out may be sent again."""
        for key in [key for key in self._root_of if key[0] == folder]:
            del self._root_of[key]

    def begun(self, folder: str, producers: Iterable[str]) -> None:
        """See `JournalWatch.begun`."""
        self.outcomes.setdefault(folder, {})
        for name in producers:
            self._home[name] = folder

    def adopted(self, folder: str, producer: str, restored: Restored) -> None:
        """See `JournalWatch.adopted`: a new journal goes on where the last owner stood, as the coordinator knew it."""
        mine = self.outcomes[folder]
        for seq in range(restored.next_seq):
            is_finished = seq < restored.mark or any(start <= seq < stop for start, stop in restored.ranges)
            before = self._ever.get((producer, seq))
            if is_finished and before is None:
                raise Violation(Promise.POSITION, f"{producer} goes on elsewhere past item {seq}, which is unfinished")
            if is_finished and before is not None:
                mine[producer, seq] = before

    def voided(self, folder: str, restored: Mapping[str, Restored]) -> None:
        """See `JournalWatch.voided`: but for what crashed all is done again."""
        self.sums.starts_over()
        outcomes = self.outcomes[folder]
        for name, one in restored.items():
            for seq in [seq for producer, seq in outcomes if producer == name]:
                is_kept = seq < one.mark or any(start <= seq < stop for start, stop in one.ranges)
                if not is_kept:
                    del outcomes[name, seq]
                    self._ever.pop((name, seq), None)

    @property
    def finished(self) -> dict[Seq, str]:
        """The outcome of each item, as the journal says that decides."""
        return {
            key: what
            for name, folder in self._home.items()
            for key, what in self.outcomes[folder].items()
            if key[0] == name
        }

    def committed(self, folder: str, round_: Round) -> Callable[[], None]:
        """See `JournalWatch.committed`."""
        added: list[Seq] = []
        charged = dict(self._charged)
        for part in round_.producers:
            name = part.producer
            for seq in [seq for each in part.changes.completed for seq in each]:
                self._ends(folder, name, seq, "completed", added)
            for attempt in part.changes.attempts:
                self._charge(name, attempt.seq, attempt.attempts)
            for letter in part.changes.dead:
                self._charge(name, letter.seq, letter.attempts)
                self._ends(folder, name, letter.seq, "dead", added)
                if letter.attempts != self._attempts_max:
                    raise Violation(Promise.CHARGES, f"{letter} is a dead letter after {letter.attempts} attempts")
            for seq in range(part.mark):
                if (name, seq) not in self.outcomes[folder]:
                    raise Violation(Promise.POSITION, f"{name} commits mark {part.mark}, but item {seq} is unfinished")
            if isinstance(part.position, int) and part.position > part.mark:
                raise Violation(Promise.POSITION, f"{name} commits position {part.position} past its mark {part.mark}")

        def undo() -> None:
            for key in added:
                del self.outcomes[folder][key]
            self._charged = charged

        return undo

    def _ends(self, folder: str, name: str, seq: int, outcome: str, added: list[Seq]) -> None:
        before = self.outcomes[folder].get((name, seq))
        if before is not None:
            raise Violation(Promise.ONE_OUTCOME, f"item {seq} of {name} is {before}, and becomes {outcome}")
        if (name, seq) not in self.items:
            raise Violation(Promise.ONE_OUTCOME, f"item {seq} of {name} never entered, and is {outcome}")
        tree = self._trees.get(self._root_of.get((folder, (name, seq)), 0))
        if outcome == "completed" and tree is not None:
            verdict = tree.verdict
            if verdict is None or verdict.lost or _names(verdict, tree.seqs.index(seq)):
                raise Violation(Promise.NOT_EARLY, f"item {seq} of {name} is completed, but its verdict is {verdict}")
        self.outcomes[folder][name, seq] = self._ever[name, seq] = outcome
        added.append((name, seq))

    def _charge(self, name: str, seq: int, attempts: int) -> None:
        item = self.items[name, seq]
        if attempts > self._charges[item]:
            raise Violation(
                Promise.CHARGES,
                f"item {seq} of {name} has {attempts} attempts against it, but {self._charges[item]} are its fault",
            )
        self._charged[name, seq] = attempts

    # ---- what links carry ----------------------------------------------------------------------------------------

    def published(self, before: Iterable[Incarnation], now: Iterable[Incarnation]) -> None:
        """A placement leaves some out that the one before listed."""
        self.dead |= set(before) - set(now)

    def carries(self, me: Incarnation, to: Incarnation, message: Message) -> None:
        """A link takes a message: notes who had frames of which root, and checks verdicts."""
        if isinstance(message, Data):
            for root in message.roots:
                if root in self._trees:
                    self._trees[root].touched |= {me, to}
        elif isinstance(message, Init):
            if message.root in self._trees:
                self._trees[message.root].acker = to
                self._trees[message.root].touched |= message.sent_to
        elif isinstance(message, Sums):
            for one in message.sums:
                if one.root in self._trees:
                    self._trees[one.root].touched |= {me, *one.sent_to}
                    self._trees[one.root].is_refused |= one.refused
        elif isinstance(message, Verdicts):
            for verdict in message.verdicts:
                self._judged(verdict, me)

    # ---- trees ---------------------------------------------------------------------------------------------------

    def _judged(self, verdict: Verdict, acker: Incarnation) -> None:
        tree = self._trees.get(verdict.root)
        if tree is None:
            return  # a task's own root
        self.verdicts += 1
        if tree.acker != acker and (tree.acker is None or tree.acker in self.dead):
            return  # sums whose init went to an acker that is dead, or to nobody: the producer has replayed the root
        if tree.verdict is not None and tree.verdict.lost and verdict.lost:
            return  # late sums of a tree that was lost so long ago that its acker has forgotten it (R11)
        if tree.verdict is not None:
            raise Violation(Promise.ONE_OUTCOME, f"root {verdict.root:x} gets two verdicts of {acker:x}")
        tree.verdict = verdict
        if verdict.lost:
            if not (tree.touched & self.dead or tree.is_refused or self.is_planted):
                raise Violation(
                    Promise.GUILTY_ALONE,
                    f"root {verdict.root:x} is told lost, though nobody died who had a frame of it",
                )
            return
        for index, seq in enumerate(tree.seqs):
            self._check_done(tree, seq, next((fail for fail in verdict.failed if index in fail.indexes), None))

    def _check_done(self, tree: Tree, seq: int, fail: Fail | None) -> None:
        is_failed = fail is not None
        item = self.items[tree.producer, seq]
        has_failed = False
        for entry in self._entries[tree.producer]:
            passes = [self.tokens[n] for n in self._tokens_of.get((item, entry), ()) if n >= tree.token]
            done = [one for one in passes if one.open == 0]
            has_failed |= any(one.is_failed for one in done)
            if not (done if is_failed else [one for one in done if not one.is_failed]):
                state = "failed" if is_failed else "done"
                raise Violation(
                    Promise.NOT_EARLY, f"item {seq} of {tree.producer} is told {state}, but its passes are {passes}"
                )
        if is_failed and not has_failed:
            raise Violation(
                Promise.GUILTY_ALONE,
                f"item {seq} of {tree.producer} is told failed, but nothing of it has raised: {fail}",
            )

    # ---- the end -------------------------------------------------------------------------------------------------

    def living_copies(self) -> list[int]:
        """The running copies of nodes that count now."""
        return [copy for copy, one in enumerate(self._copies) if one is not None and one not in self.dead]

    def copies_of(self, incarnation: Incarnation) -> list[int]:
        """The running copies of nodes in one process."""
        return [copy for copy, one in enumerate(self._copies) if one == incarnation]

    def left_out(self, *, is_good: bool) -> None:
        """The topology ends before its items do; in good order all is done that had entered, and what timers pushed."""
        for copy in self.living_copies():
            self.ticks.ends(copy, is_good=is_good)
        self.dead |= {incarnation for incarnation in self._copies if incarnation is not None}

    def check_life(self, folder: str) -> None:
        """A process that ends because all is drained leaves nothing open of what it had read (b)."""
        for where, seq in self._root_of:
            if where == folder == self._home[seq[0]] and seq not in self.outcomes[folder]:
                raise Violation(Promise.ONE_OUTCOME, f"{seq} had entered, and has no outcome after a drain")

    def check_all_ended(self) -> None:
        """Every item that entered has its outcome (b)."""
        finished = self.finished
        missing = sorted(key for key in self.items if key not in finished)
        if missing:
            found = f"{len(missing)} of {len(self.items)} items have no outcome: {missing[:10]}"
            raise Violation(Promise.ONE_OUTCOME, found)

    def forget_keys(self) -> None:
        """Keys may belong to other copies from now on: the parallelism of a node was changed (R6)."""
        self._keys.clear()


def _names(verdict: Verdict, index: int) -> bool:
    """Whether a verdict says that an item failed."""
    return any(index in fail.indexes for fail in verdict.failed)
