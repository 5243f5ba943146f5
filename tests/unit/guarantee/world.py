"""A small world of producers, executors and ackers, to try the cores on random trees, joins and deaths.

It knows the truth without any XOR: each frame is an object, and `open_frames` says which are not yet closed. Links are
queues between two incarnations that end with either; placements are told to each at its own time, and some are skipped.
A message from a later placement than the reader's waits (R4); one from a sender that isn't listed is refused.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consecution.guarantee.backoff import Backoff
from consecution.guarantee.ids import id_maker
from consecution.guarantee.ledger import AuditFired, AuditRound
from consecution.guarantee.messages import Audit, Fail, Init, Placed, Sum, Suspects, Tick, Verdict
from consecution.guarantee.ranges import Ranges
from consecution.guarantee.words import RunningWords
from tests.unit.guarantee.builders import BOOM, CRASH, CheckedLedger, CheckedWindow, make_window

if TYPE_CHECKING:
    from consecution.guarantee.window import Batch

LAYERS = 4
TIMEOUT_S = 3.0


@dataclass(eq=False)
class Frame:
    edges: dict[int, int]  # root -> edge id
    origins: frozenset[tuple[int, int]]
    layer: int
    placement: int
    is_solo: bool
    is_chunk: bool = False


@dataclass(eq=False)
class Member:
    """A living process: what it knows of placements, and its links."""

    incarnation: int
    known: Placed
    is_alive: bool = True


@dataclass(eq=False)
class Executor(Member):
    words: RunningWords = field(default_factory=RunningWords)
    queue: list[Frame] = field(default_factory=list)
    held: list[Frame] = field(default_factory=list)


@dataclass(eq=False)
class Acker(Member):
    ledger: CheckedLedger = field(default_factory=lambda: CheckedLedger(timeout_s=TIMEOUT_S))


@dataclass(eq=False)
class Producer(Member):
    name: int = 0
    window: Any = None
    left: list[str] = field(default_factory=list)
    acker_names: tuple[int, ...] = ()


class World:
    """See the module; `run` goes to the end and checks the promises on its way."""

    def __init__(self, seed: int, *, producers: int, ackers: int, executors: int, deaths: int, bad: bool) -> None:
        self.rng = random.Random(seed)
        self.new_id = id_maker(b"world %d" % seed)
        self.now = 0.0
        self.deaths = deaths
        self.bad = bad
        self.suspects: list[Suspects] = []
        self.members: dict[int, Member] = {}
        self.acker_at: list[int] = []
        self.links: dict[tuple[int, int], deque[Any]] = {}
        self.placements: list[tuple[Placed, tuple[int, ...]]] = []
        self.open_frames: dict[int, set[Frame]] = {}
        self.failed: dict[int, set[int]] = {}
        self.touched: dict[int, set[int]] = {}  # root -> to whom its frames really went
        self.owner: dict[int, int] = {}
        self.batches: dict[int, Batch] = {}
        self.verdicts: Counter[int] = Counter()
        self.outcomes: dict[int, dict[int, str]] = {}
        self.items: dict[int, list[str]] = {}
        self.attempts: dict[int, dict[int, tuple[int, bool]]] = {}
        self.ackers_died = 0
        nothing = Placed(0, frozenset())
        for _ in range(executors):
            self.add(Executor(self.new_id(), nothing))
        for _ in range(ackers):
            self.acker_at.append(self.add(Acker(self.new_id(), nothing)).incarnation)
        for name in range(producers):
            self.outcomes[name], self.items[name], self.attempts[name] = {}, [], {}
            producer = Producer(self.new_id(), nothing, name=name, left=self.make_items())
            producer.window = self.make_window(producer.incarnation)
            self.add(producer)
        self.place()
        for member in self.members.values():
            self.tell(member)

    def make_items(self) -> list[str]:
        kinds = ["good"] * 12 + (["poison", "crash"] if self.bad else [])
        return [self.rng.choice(kinds) for _ in range(self.rng.randint(1, 60))]

    def make_window(self, incarnation: int, **more: Any) -> CheckedWindow:
        backoff = Backoff(first_s=0.2, factor=2.0, max_s=2.0)
        return make_window(
            producer=incarnation, new_root=self.new_id, replays_max=2, pending_max=25, backoff=backoff, **more
        )

    # -- placements

    def add(self, member: Member) -> Member:
        self.members[member.incarnation] = member
        return member

    def alive(self, kind: type) -> list[Any]:
        return [each for each in self.members.values() if each.is_alive and isinstance(each, kind)]

    def place(self) -> None:
        living = frozenset(each.incarnation for each in self.alive(Member))
        self.placements.append((Placed(len(self.placements) + 1, living, tuple(self.suspects)), tuple(self.acker_at)))

    def tell(self, member: Member) -> None:
        """Bring a member to the newest placement."""
        placed, acker_at = self.placements[-1]
        if member.known.number == placed.number:
            return
        member.known = placed
        if isinstance(member, Acker):
            self.send_all(member, member.ledger.handle(placed, self.now))
        elif isinstance(member, Producer):
            for place, (old, new) in enumerate(zip(member.acker_names, acker_at, strict=False)):
                if old != new:
                    member.window.ackers_died(lambda root, place=place: root % len(acker_at) == place, self.now)
            member.acker_names = acker_at
            self.after_verdict(member)

    def kill(self, member: Member, origins: frozenset[tuple[int, int]] = frozenset()) -> None:
        """A process dies, with its links; another of its kind is born in the same new placement."""
        member.is_alive = False
        for link in [link for link in self.links if member.incarnation in link]:
            del self.links[link]
        if origins:
            self.suspects.append(Suspects(member.incarnation, tuple(sorted(origins)), CRASH))
        nothing = Placed(0, frozenset())
        born: Member
        if isinstance(member, Executor):
            born = Executor(self.new_id(), nothing)
        elif isinstance(member, Acker):
            self.ackers_died += 1
            assert member.ledger.counts.audit_fired == 0
            born = Acker(self.new_id(), nothing)
            self.acker_at[self.acker_at.index(member.incarnation)] = born.incarnation
        else:
            assert isinstance(member, Producer)
            born = self.restart(member)
        self.add(born)
        self.place()
        self.tell(born)

    def restart(self, old: Producer) -> Producer:
        """A producer starts again from its journal: mark, ranges, attempts."""
        born = Producer(self.new_id(), Placed(0, frozenset()), name=old.name, left=old.left)
        finished = Ranges(0, [(seq, seq + 1) for seq in self.outcomes[old.name]])
        first_seq = old.window.next_seq
        born.window = self.make_window(born.incarnation, first_seq=first_seq, finished=finished)
        for gap in finished.copy().missing(first_seq):
            for seq in gap:
                attempts, suspect = self.attempts[old.name].get(seq, (0, False))
                born.window.resume(seq, self.items[old.name][seq], attempts, suspect)
        return born

    # -- links

    def send(self, sender: Member, target: int, message: Any) -> None:
        other = self.members[target]
        if other.is_alive:
            self.links.setdefault((sender.incarnation, target), deque()).append((sender.known.number, message))

    def send_to_acker(self, sender: Member, root: int, message: Any) -> None:
        acker_at = self.placements[sender.known.number - 1][1]
        self.send(sender, acker_at[root % len(acker_at)], message)

    def send_all(self, acker: Acker, instructions: list[Any]) -> None:
        for each in instructions:
            if isinstance(each, AuditRound):
                for incarnation in sorted(acker.known.living):
                    if not isinstance(self.members[incarnation], Acker):
                        self.send(acker, incarnation, each)
                continue
            assert not isinstance(each, AuditFired), f"the audit fired for {each}, and nothing was lost"
            self.check_verdict(each, acker)
            self.send(acker, each.producer, each)

    def deliver(self) -> bool:
        """Deliver the head of a random link; False when no link has a message that may be read."""
        links = list(self.links)
        self.rng.shuffle(links)
        for link in links:
            sender, target = link
            member = self.members[target]
            number, message = self.links[link][0]
            if number > member.known.number:
                continue
            self.links[link].popleft()
            if not self.links[link]:
                del self.links[link]
            if sender in member.known.living:
                if isinstance(message, AuditRound):
                    self.audit(member, sender, message.number)
                else:
                    self.receive(member, message)
            return True
        return False

    def receive(self, member: Member, message: Any) -> None:
        if isinstance(member, Executor):
            member.queue.append(message)
        elif isinstance(member, Acker):
            self.send_all(member, member.ledger.handle(message, self.now))
        elif isinstance(member, Producer):
            member.window.settle(message, self.now)
            self.after_verdict(member)

    # -- producers

    def after_verdict(self, producer: Producer) -> None:
        """Commit the changes; each item gets one outcome, and only a bad one is a dead letter."""
        changes = producer.window.take_changes()
        outcomes = self.outcomes[producer.name]
        for seq in [seq for each in changes.completed for seq in each]:
            assert seq not in outcomes, f"item {seq} has two outcomes"
            assert self.items[producer.name][seq] == "good"
            outcomes[seq] = "completed"
        for dead in changes.dead:
            assert dead.seq not in outcomes, f"item {dead.seq} has two outcomes"
            assert dead.item == self.items[producer.name][dead.seq] != "good", f"innocent: {dead}"
            assert dead.attempts == 3
            outcomes[dead.seq] = "dead"
        for attempt in changes.attempts:
            self.attempts[producer.name][attempt.seq] = (attempt.attempts, attempt.suspect)

    def introduce(self, producer: Producer) -> bool:
        batches = producer.window.replays(self.now)
        count = min(producer.window.room(), len(producer.left), self.rng.randint(1, 8))
        if count:
            items, producer.left = producer.left[:count], producer.left[count:]
            self.items[producer.name] += items
            batches.append(producer.window.introduce(items, self.now))
        for batch in batches:
            self.begin(producer, batch)
        self.after_verdict(producer)
        return bool(batches)

    def begin(self, producer: Producer, batch: Batch) -> None:
        self.batches[batch.root] = batch
        self.owner[batch.root] = producer.incarnation
        self.open_frames[batch.root], self.failed[batch.root] = set(), set()
        word, sent_to = 0, set()
        origins = frozenset((batch.root, index) for index in range(len(batch.seqs)))
        for target in self.targets(producer, self.rng.randint(1, 3)):
            edge_id = self.new_id()
            word ^= edge_id
            sent_to.add(target)
            self.put(producer, target, Frame({batch.root: edge_id}, origins, 0, producer.known.number, batch.solo))
        init = Init(batch.root, producer.incarnation, word, frozenset(sent_to), producer.known.number)
        self.send_to_acker(producer, batch.root, init)

    # -- executors

    def targets(self, member: Member, count: int) -> list[int]:
        executors = [each for each in sorted(member.known.living) if isinstance(self.members[each], Executor)]
        return [self.rng.choice(executors) for _ in range(count)]

    def put(self, sender: Member, target: int, frame: Frame) -> None:
        for root in frame.edges:
            self.open_frames[root].add(frame)
            self.touched.setdefault(root, set()).add(target)
        self.send(sender, target, frame)

    def push(self, executor: Executor, inputs: list[Frame], origins: frozenset[tuple[int, int]]) -> None:
        """Push one frame made of some origins of the inputs."""
        if not origins:
            return
        [target] = self.targets(executor, 1)
        edges = {root: self.new_id() for root in sorted({root for root, _ in origins})}
        is_solo = any(each.is_solo for each in inputs)
        layer = inputs[0].layer + 1
        frame = Frame(edges, origins, layer, executor.known.number, is_solo, is_chunk=len(inputs) > 1)
        for root, edge_id in edges.items():
            executor.words.created(root, self.owner[root], edge_id, target)
        self.put(executor, target, frame)

    def close(self, executor: Executor, frame: Frame) -> None:
        for root, edge_id in frame.edges.items():
            executor.words.closed(root, self.owner[root], edge_id)
            self.open_frames[root].remove(frame)

    def kind(self, origin: tuple[int, int]) -> Any:
        root, index = origin
        return self.batches[root].items[index]

    def work(self, executor: Executor) -> bool:
        if not executor.queue:
            return False
        frame = executor.queue.pop(self.rng.randrange(len(executor.queue)))
        if frame.layer == 1 and not frame.is_solo:
            executor.held.append(frame)
            return True
        crashing = frozenset(origin for origin in frame.origins if self.kind(origin) == "crash")
        good = frame.origins
        if frame.layer == 2 and crashing:
            if self.rng.random() < 0.5:
                self.push(executor, [frame], good)
            self.kill(executor, frame.origins)
            return True
        if frame.layer == 2:
            bad = frozenset(origin for origin in good if self.kind(origin) == "poison")
            if bad and frame.is_chunk:
                bad = good
            self.fail(executor, bad)
            good -= bad
        if frame.layer + 1 < LAYERS:
            self.push_some(executor, frame, good)
        self.close(executor, frame)
        return True

    def push_some(self, executor: Executor, frame: Frame, good: frozenset[tuple[int, int]]) -> None:
        """Push all the bad origins on (so that they meet their fate), and some of the others, into 1 to 3 frames."""
        ordered = sorted(good)
        for _ in range(self.rng.randint(1, 3)):
            some = {origin for origin in ordered if self.kind(origin) != "good" or self.rng.random() < 0.7}
            self.push(executor, [frame], frozenset(some))

    def fail(self, executor: Executor, bad: frozenset[tuple[int, int]]) -> None:
        for root in sorted({root for root, _ in bad}):
            indexes = tuple(sorted(index for each, index in bad if each == root))
            self.failed[root].update(indexes)
            executor.words.failed(Fail(root, indexes, BOOM), self.owner[root])

    def flush(self, executor: Executor) -> bool:
        if not executor.held:
            return False
        self.rng.shuffle(executor.held)
        count = self.rng.randint(1, len(executor.held))
        inputs, executor.held = executor.held[:count], executor.held[count:]
        self.push(executor, inputs, frozenset().union(*(each.origins for each in inputs)))
        for each in inputs:
            self.close(executor, each)
        return True

    def sum_up(self, executor: Executor) -> bool:
        sums = executor.words.take(executor.known.number)
        for each in sums:
            self.send_to_acker(executor, each.root, each)
        return bool(sums)

    # -- audits

    def audit(self, member: Any, acker: int, number: int) -> None:
        """Name to an acker all of its roots that are queued, held, unsent or unconfirmed."""
        roots: set[int] = set()
        if isinstance(member, Executor):
            for frame in [*member.queue, *member.held]:
                roots |= set(frame.edges)
            roots |= set(member.words._words)
        for (sender, _), messages in self.links.items():
            if sender == member.incarnation:
                for _, message in messages:
                    if isinstance(message, Frame):
                        roots |= set(message.edges)
                    elif isinstance(message, Init | Sum):
                        roots.add(message.root)
        self.send(member, acker, Audit(member.incarnation, roots, number))

    # -- the oracle

    def check_verdict(self, verdict: Verdict, acker: Acker) -> None:
        root = verdict.root
        if self.batches[root] is None:
            return
        dead = {each for each in self.touched[root] if not self.members[each].is_alive}
        if verdict.lost:
            is_leftover = bool(self.ackers_died)  # of a root whose init went to the acker before this one
            assert dead or is_leftover, "lost, though nobody died"
        else:
            assert not self.open_frames[root], f"done early: {len(self.open_frames[root])} frames are open"
            told = {index for fail in verdict.failed for index in fail.indexes}
            assert told == self.failed[root], "fails of the verdict differ from those that happened"
        self.verdicts[root] += 1
        assert self.verdicts[root] == 1 or self.ackers_died, "two verdicts on one root"

    # -- running

    def step(self) -> None:
        self.now += 0.01
        member = self.rng.choice(self.alive(Member))
        roll = self.rng.random()
        if roll < 0.25:
            self.deliver()
        elif isinstance(member, Executor):
            action = self.rng.choice((self.work, self.work, self.work, self.flush, self.sum_up, self.sum_up))
            action(member)
        elif isinstance(member, Producer):
            self.introduce(member)
        if roll > 0.97:
            self.tell(member)
        if self.deaths and self.rng.random() < 0.01:
            self.deaths -= 1
            self.kill(member)
        if roll > 0.9 and member.is_alive and isinstance(member, Acker):
            self.send_all(member, member.ledger.handle(Tick(), self.now))

    def settle_down(self) -> bool:
        """Do all that can be done now; False when there was nothing."""
        was_busy = False
        for member in self.alive(Member):
            self.tell(member)
        while self.deliver():
            was_busy = True
        for executor in self.alive(Executor):
            while executor.is_alive and (self.work(executor) or self.flush(executor)):
                was_busy = True
            if executor.is_alive:
                was_busy |= self.sum_up(executor)
        for producer in self.alive(Producer):
            was_busy |= self.introduce(producer)
        self.now += 0.05
        return was_busy

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
        rounds = 0
        while self.settle_down() or not self.is_finished():
            rounds += 1
            assert rounds < 3_000, "stands still"
        self.rest()

    def is_finished(self) -> bool:
        return all(each.window.is_idle and not each.left for each in self.alive(Producer))

    def rest(self) -> None:
        """Everything has its outcome: wait for audits and ages, and look that nothing is left."""
        for name, items in self.items.items():
            wanted = {seq: "completed" if kind == "good" else "dead" for seq, kind in enumerate(items)}
            assert self.outcomes[name] == wanted
        for acker in self.alive(Acker):
            left = [root for root, tree in acker.ledger._trees.items() if tree.has_init]
            assert not left, "a tree is open, though all items have their outcomes"
        for _ in range(40):
            self.now += TIMEOUT_S / 6
            for acker in self.alive(Acker):
                self.send_all(acker, acker.ledger.handle(Tick(), self.now))
            while self.deliver():
                pass
        for acker in self.alive(Acker):
            assert len(acker.ledger) == 0
            assert acker.ledger.tombstones == 0
            assert acker.ledger.counts.audit_fired == 0
            if not self.ackers_died:
                assert acker.ledger.counts.orphans == 0
