"""Deaths of processes and workers: what is published, what is started again, where (R5, R12, R15, R17)."""

from __future__ import annotations

import dataclasses

import pytest

from consecution.guarantee.messages import Cause
from consecution.wire.cluster.from_client import Kill
from consecution.wire.cluster.from_worker import ChildPhase
from consecution.wire.cluster.to_client import State
from consecution.wire.control import FeedCounts, Letter
from consecution.wire.placement import Phase, Role

CRASH = Cause("", "ExecutorDied", "killed by signal 9")


def executor(placement, index=0):
    return next((m for m in placement.members if m.role is Role.EXECUTOR and m.index == index), None)


def test_a_killed_executor_is_left_out_at_once_with_what_its_slot_held_and_started_again(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1, 1))
    world.news.clear()
    dead = executor(world.placement(), 1)
    worker.crash(1, runs=((7, 0, 3),), is_cut=True)
    without = world.news[0]
    assert executor(without, 1) is None
    assert without.phase is Phase.RUNNING
    (death,) = without.deaths
    assert (death.incarnation, death.runs, death.is_cut, death.number) == (
        dead.incarnation,
        ((7, 0, 3),),
        True,
        without.number,
    )
    world.run(0.5)
    again = executor(world.news[-1], 1)
    assert again.incarnation != dead.incarnation
    assert again.birth == world.news[-1].number
    assert again.tasks == dead.tasks


def test_only_the_dead_process_is_touched(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1, 1, 1))
    others = {id_ for id_ in worker.children if (id_.role, id_.index) != ("executor", 1)}
    worker.crash(1)
    world.run(2.0)
    assert others < set(worker.children)


def test_a_death_is_told_until_every_process_has_the_placement_that_names_it(world, build):
    """1. E1 dies in placement 3. 2. The acker still is at 2. 3. Placement 4 names the death again, for the acker."""
    worker = world.worker("a")
    world.start("flow", build.plan(1, 1))
    place = worker.place
    worker.place = lambda placement: None
    worker.crash(1, code=-11)
    world.run(1.0)
    assert world.placement().deaths
    assert world.placement().number > world.placement().deaths[0].number
    worker.place = place
    worker.placements.clear()
    worker.place(world.placement())
    world.run(0.5)
    worker.crash(0, code=-11)
    assert [death.cause.host for death in world.placement().deaths] == ["a"]


@pytest.mark.parametrize(
    ("what", "is_told"),
    [
        ({"code": -11}, True),
        ({"code": 3}, True),
        ({"code": -9, "runs": ((7, 0, 1),)}, True),
        ({"code": -9, "is_cut": True}, True),
        ({"code": -9}, False),
        ({"code": -15}, False),
        ({"code": 1, "broke": "internal", "message": "a bug"}, False),
    ],
)
def test_only_an_end_that_may_be_the_fault_of_an_item_is_told_as_a_death(world, build, what, is_told):
    """Seed 712157: a worker that left killed its executors, and the only item under way was charged for it."""
    worker = world.worker("a")
    world.start("flow", build.plan(1, 1))
    worker.crash(1, **what)
    world.run(1.0)
    assert bool(world.placement().deaths) is is_told


def test_the_crash_of_an_acker_is_no_items_fault(world, build):
    """Seed endings:89071: the only item under way was charged for it."""
    worker = world.worker("a")
    world.start("flow", build.plan(1, 1))
    worker.crash(0, "acker", code=-11)
    world.run(1.0)
    assert not world.placement().deaths


def test_deaths_at_once_again_and_again_are_waited_for_longer_and_longer(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1))
    waits = []
    for _ in range(4):
        started = len(worker.started)
        at = world.now
        worker.crash(0)
        while len(worker.started) == started:
            world.run(0.25)
        waits.append(world.now - at)
    assert waits == sorted(waits)
    assert waits[0] <= 0.25
    assert waits[-1] >= 2.0
    assert world.state_of() is not State.FAILED, "it ran before: it is never given up"


def test_a_process_that_lived_a_while_starts_again_at_once(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1))
    for _ in range(5):
        world.run(3.0)
        worker.crash(0)
        world.run(0.25)
        assert "executor-0" in worker.runs()


@pytest.mark.parametrize("kind", ["flow", "setup", "source", "journal", "bundle"])
def test_what_another_try_would_not_mend_fails_at_the_first_start_and_says_where(world, build, kind):
    worker = world.worker("a")
    worker.phase = ChildPhase.STARTING
    world.ask(build.submit())
    worker.crash(0, code=1, broke=kind, message="ImportError: no module 'x'", traceback="Traceback …")
    world.run(1.0)
    status = world.status()
    assert status.summary.state is State.FAILED
    assert status.summary.reason == "ImportError: no module 'x' (on worker a)"
    assert status.traceback == ("Traceback …" if kind in ("flow", "setup") else ""), "only what is the flow's"
    assert worker.children == {}


def test_a_process_that_always_crashes_at_the_start_is_given_up_after_five_times(world, build):
    worker = world.worker("a")
    worker.phase = ChildPhase.STARTING
    world.ask(build.submit("flow", build.plan(1)))
    for _ in range(5):
        while "executor-0" not in worker.runs():
            world.run(0.25)
        assert not world.state_of().is_over
        worker.crash(0, code=-11, log_tail="Fatal Python error: Segmentation fault")
    world.run(1.0)
    status = world.status()
    assert status.summary.state is State.FAILED
    assert "5 times" in status.summary.reason
    assert "Segmentation fault" in status.traceback


def test_a_process_that_breaks_after_it_ran_is_started_again(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1))
    worker.crash(0, code=1, broke="setup", message="database is down")
    world.run(2.0)
    assert world.state_of() is State.RUNNING
    assert world.status().processes[1].last_death == "database is down"


def test_an_exit_with_code_0_that_nobody_asked_for_is_a_death(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1))
    worker.crash(0, code=0, runs=((1, 0, 1),), cause=dataclasses.replace(CRASH, message="os._exit(0)"))
    assert executor(world.placement()) is None or world.placement().deaths
    world.run(1.0)
    assert world.state_of() is State.RUNNING


def test_a_child_that_is_gone_without_a_word_is_started_again(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1))
    worker.end(worker.child(0), code=-9, tell=False)
    world.run(1.0)
    assert executor(world.placement()) is not None
    assert len([id_ for id_ in worker.started if id_.role == "executor"]) == 2


def test_the_exit_of_an_earlier_start_changes_nothing(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1))
    old = worker.child(0)
    worker.crash(0)
    world.run(1.0)
    number = world.placement().number
    worker.children[old] = worker.children[worker.child(0)]
    worker.end(old, code=-9)
    world.run(1.0)
    assert world.placement().number == number


def test_an_exit_is_taken_in_once_although_it_is_told_twice(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1))
    worker.hear = lambda message: None if type(message).__name__ == "Heard" else type(worker).hear(worker, message)
    worker.crash(0)
    world.run(2.0)
    assert world.status().processes[1].restarts == 1


def test_a_dead_worker_s_processes_are_placed_elsewhere_and_nothing_else_moves(world, build):
    a = world.worker("a", slots=2)
    b = world.worker("b", slots=2)
    world.start("flow", build.plan(4))
    staying = {id_ for id_ in a.children if id_.role == "executor"}
    b.die()
    world.run(5.0)
    assert staying < set(a.children)
    assert {m.worker for m in world.placement().members} == {"a"}
    assert sorted(task for m in world.placement().members for task in m.tasks) == [0, 1, 2, 3]
    assert world.state_of() is State.RUNNING


def test_without_another_worker_it_waits_and_says_so_and_goes_on_when_one_joins(world, build):
    world.worker("a").die()
    world.now += 10
    world.run(5.0)
    b = world.worker("b")
    world.start("flow", build.plan(1))
    b.die()
    world.run(5.0)
    assert "waits for a worker" in world.status().summary.reason
    world.worker("c")
    world.run(1.0)
    assert world.state_of() is State.RUNNING
    assert world.status().summary.reason == ""


def test_a_re_readable_source_goes_on_elsewhere_where_the_coordinator_knows_it_was(world, build):
    a = world.worker("a", slots=1)
    b = world.worker("b", slots=1)
    world.start("flow", build.plan(1, 1))
    counts = FeedCounts(0, "feed0", introduced=9, completed=5, mark=4, ranges=((6, 8),), position=b"p", is_idle=False)
    a.tell(0, feeds=(counts,))
    first = next(child.order for child in a.children.values() if child.order.id.role == "executor")
    a.die()
    world.run(5.0)
    order = b.children[b.child(0)].order
    assert order.starts[0].counts == counts
    assert order.journal != first.journal, "a new owner never resumes the journal of another"
    assert first.starts == ()


def test_the_old_owner_that_comes_back_is_not_given_its_journal_again(world, build):
    """Schedule 11: a worker is cut off, its producer is placed elsewhere, the worker returns."""
    a = world.worker("a", slots=1)
    b = world.worker("b", slots=1)
    world.start("flow", build.plan(1, 1))
    journal = a.children[a.child(0)].order.journal
    a.is_silent = True
    world.run(4.0)
    a.is_silent = False
    world.run(2.0)
    owners = [child.order.journal for worker in (a, b) for child in worker.children.values() if child.order.journal]
    assert len(owners) == 1
    assert owners[0] != journal


def test_what_was_handed_over_waits_for_its_host_and_says_so_while_the_tasks_go_on_elsewhere(world, build):
    a = world.worker("a", slots=1)
    world.worker("b", slots=1)
    world.start("flow", build.plan(1, 1, feeds=(build.feed(0, "handed over"),)))
    assert a.children[a.child(0)].order.journal
    a.die()
    world.run(5.0)
    status = world.status()
    assert sorted(task for m in world.placement().members for task in m.tasks) == [0, 1]
    assert [feed for m in world.placement().members for feed in m.feeds] == []
    assert status.feeds[0].waiting_for == "worker a, whose disk holds its journal"
    assert "waits for worker a" in status.summary.reason
    back = world.worker("a", slots=1)
    world.run(1.0)
    assert [m.worker for m in world.placement().members if m.feeds] == ["a"]
    assert next(c.order.journal for c in back.children.values() if c.order.journal) == "flow.1.g0.t1"
    assert world.status().summary.reason == ""


def test_a_worker_of_the_same_name_with_another_disk_does_not_get_what_was_handed_over(world, build):
    a = world.worker("a", slots=1)
    world.worker("b", slots=1)
    world.start("flow", build.plan(1, 1, feeds=(build.feed(0, "handed over"),)))
    a.die()
    world.run(5.0)
    world.worker("a", slots=1, identity="a new disk")
    world.run(2.0)
    assert not [m for m in world.placement().members if m.feeds]


def test_a_dead_acker_is_started_again_under_its_index(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1), ackers=2)
    dead = world.placement().acker(1)
    worker.crash(1, role="acker")
    world.run(1.0)
    assert world.placement().acker(1) not in (None, dead)
    assert world.placement().n_ackers == 2


def test_a_finite_run_that_accumulates_starts_over_with_new_incarnations_after_a_death(world, build):
    a = world.worker("a", slots=2)
    b = world.worker("b", slots=2)
    world.start("flow", build.plan(2, 1, accumulating=True))
    before = {m.incarnation for m in world.placement().members if m.role is Role.EXECUTOR}
    a.tell(0, feeds=(FeedCounts(0, "feed0", introduced=9, completed=5, mark=5, is_idle=False),))
    a.letter(0, Letter("feed0", 3, None, "3", 4, None))
    a.beat()
    assert world.status().letters == 1
    victim = next(worker for worker in (a, b) if ("executor", 1) in {(i.role, i.index) for i in worker.children})
    victim.crash(1)
    empty = next(p for p in world.news if p.pass_number == 2)
    assert [m.role for m in empty.members] == [Role.ACKER]
    assert (empty.phase, empty.pass_number) == (Phase.STARTING, 2)
    world.run(2.0)
    after = {m.incarnation for m in world.placement().members if m.role is Role.EXECUTOR}
    assert len(after) == len(before) == 3
    assert not after & before
    assert len({m.birth for m in world.placement().members if m.role is Role.EXECUTOR}) == 1
    status = world.status()
    assert (status.summary.state, status.letters, status.summary.completed) == (State.RUNNING, 0, 0)
    assert world.letters == {}


@pytest.mark.parametrize("accumulating", [True, False])
def test_a_killed_run_that_sums_begins_anew_when_it_is_submitted_again_and_another_goes_on(world, build, accumulating):
    """1. Its producer has moved, so that it begins where the coordinator says. 2. It is killed, and submitted again."""
    a = world.worker("a", slots=1)
    b = world.worker("b", slots=1)
    world.start("flow", build.plan(1, accumulating=accumulating))
    runs = [worker for worker in (a, b) if "executor-0" in worker.runs()]
    other = b if runs == [a] else a
    runs[0].die()
    world.run(5.0)
    counts = FeedCounts(0, "feed0", introduced=4, completed=4, mark=4, position=b"p", is_idle=True)
    other.tell(0, feeds=(counts,))
    world.ask(Kill("flow"))
    world.run(2.0)
    assert world.state_of() is State.KILLED
    world.start("flow", build.plan(1, accumulating=accumulating))
    assert [one.counts for one in other.children[other.child(0)].order.starts] == ([] if accumulating else [counts])


def test_a_run_that_starts_over_is_told_what_was_in_work_at_the_death(world, build):
    """1. E2 dies with an item in its slot. 2. So does the acker. 3. E0 begins anew, and learns of the item too."""
    worker = world.worker("a")
    world.start("flow", build.plan(2, 1, accumulating=True))
    world.news.clear()
    worker.crash(2, runs=((7, 3, 1),))
    worker.crash(0, role="acker")
    world.run(10.0, 1.0)
    first = next(placement for placement in world.news if executor(placement) is not None)
    assert first.pass_number == 2
    assert ((7, 3, 1),) in [death.runs for death in first.deaths]
    world.run(10.0, 1.0)
    world.news.clear()
    worker.crash(0, runs=((8, 0, 1),))
    world.run(10.0, 1.0)
    first = next(placement for placement in world.news if executor(placement) is not None)
    assert [death.runs for death in first.deaths] == [((8, 0, 1),)], "all of this pass have heard of the older one"


def test_an_endless_run_that_accumulates_goes_on(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1, 1, feeds=(build.feed(0, endless=True),), accumulating=True))
    worker.crash(1)
    world.run(1.0)
    assert world.placement().pass_number == 1


@pytest.mark.parametrize("end", ["a death", "a silent worker", "a kill"])
def test_what_processes_counted_is_known_when_they_are_gone(world, build, end):
    worker = world.worker("a")
    world.worker("b")
    world.start("flow", build.plan(1, 1))
    worker = next(w for w in world.workers.values() if any(id_.role == "acker" for id_ in w.children))
    acker = worker.children[worker.child(0, "acker")]
    acker.told = dataclasses.replace(acker.told, audits_fired=3)
    index = next(id_.index for id_ in worker.children if id_.role == "executor")
    worker.tell(index, node_failures=2)
    assert (world.status().audits_fired, world.status().node_failures) == (3, 2)
    if end == "a death":
        worker.crash(0, "acker")
        worker.crash(index)
    elif end == "a silent worker":
        worker.die()
    else:
        world.ask(Kill("flow"))
    world.run(5.0)
    assert (world.status().audits_fired, world.status().node_failures) == (3, 2)


def test_deaths_that_blame_items_do_not_make_the_topology_wait_longer_and_longer(world, build):
    """Three items that crash cost a dozen deaths: with 30 s before each start the others would stand for minutes."""
    worker = world.worker("a")
    world.start("flow", build.plan(1))
    for number in range(12):
        assert worker.child(0), f"it runs again after {number} deaths"
        worker.crash(0, runs=((number, 0, 1 + number % 3),))
        world.run(1.5)
    assert world.state_of() is State.RUNNING
    for _ in range(12):
        if not any(id_.role == "executor" for id_ in worker.children):
            break
        worker.crash(0)
        world.run(1.5)
    else:
        pytest.fail("deaths that blame nothing make it wait")
