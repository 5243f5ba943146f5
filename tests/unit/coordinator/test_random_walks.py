"""Anything may happen to the cluster; when it is left alone, all that runs is whole again.

Each walk is given by its seed; after each event the invariants C1 to C4 are checked, and that nothing is published that
isn't durable (conftest.py). At the end workers join, and everything must come to rest: each task and producer owned
once by a living process of a living worker, numbers never gone back, no process that nobody wants.
"""

from __future__ import annotations

import dataclasses
import random

import pytest

from consecution.wire.cluster.from_client import Drain, Kill, Pause, Rebalance, Resume
from consecution.wire.cluster.to_client import State
from consecution.wire.control import FeedCounts
from consecution.wire.placement import Role

WALKS = 12
STEPS = 40
NAMES = ("one", "two")


class Walk:
    def __init__(self, world, build, seed):
        self.world, self.build, self.random = world, build, random.Random(seed)
        self.numbers = {}

    def alive(self):
        return [w for w in self.world.workers.values() if not w.is_silent and w.is_registered]

    def join(self):
        if len(self.alive()) < 4:
            used = {worker.name for worker in self.alive()}
            name = self.random.choice([name for name in "abcd" if name not in used])
            self.world.worker(name, slots=self.random.randint(1, 4), identity=self.random.choice(["", "", "new disk"]))

    def die(self):
        if self.alive():
            self.random.choice(self.alive()).die()

    def be_cut_off(self):
        if self.alive():
            self.random.choice(self.alive()).is_silent = True

    def come_back(self):
        silent = [w for w in self.world.workers.values() if w.is_silent and w.children]
        if silent:
            worker = self.random.choice(silent)
            if worker.name not in {w.name for w in self.alive()}:
                worker.is_silent = False

    def leave(self):
        if self.alive():
            self.random.choice(self.alive()).is_leaving = True

    def crash(self):
        busy = [worker for worker in self.alive() if worker.children]
        if busy:
            worker = self.random.choice(busy)
            id_ = self.random.choice(sorted(worker.children))
            worker.crash(id_.index, role=id_.role, runs=((self.random.getrandbits(64), 0, 1),))

    def vanish(self):
        busy = [worker for worker in self.alive() if worker.children]
        if busy:
            worker = self.random.choice(busy)
            worker.end(self.random.choice(sorted(worker.children)), code=-9, tell=False)

    def stall(self):
        for worker in self.alive():
            worker.confirms = self.random.random() < 0.7
            for child in worker.children.values():
                child.confirms = worker.confirms

    def lose(self):
        """Some of what is told from now on is lost on the way."""
        share = self.random.choice([0.0, 0.3, 0.6])
        for worker in self.alive():
            worker.loses = lambda: self.random.random() < share

    def progress(self):
        for worker in self.alive():
            for id_, child in worker.children.items():
                if child.told.feeds:
                    counts = child.told.feeds[0]
                    n = counts.mark + self.random.randint(0, 50)
                    feeds = (FeedCounts(0, "feed0", introduced=n, completed=n, mark=n, is_idle=True),)
                    worker.tell(id_.index, feeds=feeds)
                    return

    def submit(self):
        source = self.random.choice(["re-readable", "re-readable", "handed over"])
        widths = [self.random.randint(1, 3) for _ in range(self.random.randint(1, 3))]
        key = self.random.choice(["", "", "key"])
        facts = self.build.plan(*widths, feeds=(self.build.feed(0, source),), accumulating=self.random.random() < 0.3)
        stages = tuple(dataclasses.replace(one, grouping=key) for one in facts.stages)
        facts = dataclasses.replace(facts, stages=stages)
        level = self.random.choice(["REPLAY", "REPLAY", "NONE"])
        slots = self.random.choice([0, 0, 1, 2])
        slots = min(slots, sum(widths))
        self.world.ask(self.build.submit(self.random.choice(NAMES), facts, level=level, slots=slots))

    def command(self):
        kind = self.random.choice([Pause, Resume, Resume, Rebalance, Rebalance, Rebalance, Kill, Drain])
        self.world.ask(kind(self.random.choice(NAMES)))

    def scale(self):
        width = self.random.randint(1, 5)
        self.world.ask(Rebalance(self.random.choice(NAMES), {f"n{self.random.randint(0, 1)}": width}))

    def restart(self):
        self.world.restart()

    def wait(self):
        self.world.run(self.random.choice([4.0, 12.0]), 1.0)

    def sleep(self):
        self.world.now += self.random.choice([2.0, 10.0])

    def step(self):
        action = self.random.choice(
            [self.join, self.wait] * 4
            + [self.die, self.be_cut_off, self.come_back, self.leave, self.vanish, self.stall, self.restart, self.sleep]
            + [self.lose] * 2
            + [self.crash] * 3
            + [self.progress] * 2
            + [self.submit] * 3
            + [self.command] * 4
            + [self.scale] * 4
        )
        action()
        self.world.run(self.random.choice([0.25, 0.5, 1.0]))
        for name, course in self.world.state.courses.items():
            assert course.kept.number >= self.numbers.get(name, 0), "C3"
            self.numbers[name] = course.kept.number

    def rest(self):
        """Leave it alone, with all that it may wait for."""
        for worker in list(self.world.workers.values()):
            if worker.is_leaving:
                worker.die()
        self.world.run(15.0, 1.0)
        used = {worker.name for worker in self.alive()}
        for name in sorted(set("abcd") - used):
            self.world.worker(name, slots=4)
        for worker in self.alive():
            worker.confirms = True
            worker.loses = lambda: False
            for child in worker.children.values():
                child.confirms = True
        for name in NAMES:
            self.world.ask(Resume(name))
        self.world.run(90.0, 1.0)


@pytest.mark.parametrize("part", range(6))
def test_whatever_happens_all_is_whole_again_when_it_is_left_alone(build, part):
    from tests.unit.coordinator.conftest import World

    for seed in range(part * WALKS // 6, (part + 1) * WALKS // 6):
        walk = Walk(World(), build, seed)
        for _ in range(STEPS):
            walk.step()
        walk.rest()
        check(walk, seed)


def check(walk, seed):
    world = walk.world
    living = {
        child.incarnation: (worker.name, id_) for worker in walk.alive() for id_, child in worker.children.items()
    }
    wanted = set()
    for name, course in world.state.courses.items():
        if course.is_over:
            continue
        where = f"seed {seed}, {name}: {course.kept.state}, {world.status(name)}"
        waits = any(seat.is_pinned for seat in course.kept.seats)  # for a disk that is gone, a drain to its deadline
        assert course.kept.state is State.RUNNING or (waits and course.kept.state is State.DRAINING), where
        placement = course.placement()
        assert placement.phase.value == course.kept.state.value, where
        for member in placement.members:
            assert living[member.incarnation][0] == member.worker, where
            wanted.add(member.incarnation)
        executors = [m for m in placement.members if m.role is Role.EXECUTOR]
        assert sorted(t for m in executors for t in m.tasks) == course.tasks(), where
        pinned = [feed for seat in course.kept.seats if seat.is_pinned and not seat.worker for feed in seat.feeds]
        assert sorted([f for m in executors for f in m.feeds] + pinned) == [0], where
    assert set(living) == wanted, f"seed {seed}: processes that nobody wants, or that aren't listed"
