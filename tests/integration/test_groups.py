"""Joined consecutors that run together: what arrives where, and what the end or failure of one means for the others."""

from __future__ import annotations

import threading

import pytest

from consecution import (
    BatchEnd,
    Collect,
    Consecutor,
    GraphError,
    JournalError,
    Map,
    Node,
    Robustness,
    UserCodeError,
)
from consecution.journal.sqlite import has_journal
from consecution.producers import Producer, SourceClass

MODES = ["single", "threads"]


class Split(Node):
    """Odd numbers go to output "odd", all go to async output "tap", even ones go on."""

    def __init__(self):
        self.add_output("odd")
        self.add_async_output("tap")

    def process(self, number):
        self.async_output["tap"].send(number)
        if number % 2:
            self.output["odd"].send(number)
        else:
            self.push(number)


def is_not_seven(number):
    if number == 7:
        message = "seven"
        raise ValueError(message)
    return number


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", Robustness)
def test_each_output_arrives_where_it_leads_at_every_level(mode, level):
    first = Consecutor(range(1000) | Split(), "first", journal=None, robustness=level)
    even = Consecutor(Collect("even"), "even", journal=None, robustness=level)
    odd = Consecutor(Map(lambda number: -number), "odd", journal=None, robustness=level)
    negative = Consecutor(Collect("negative"), "negative", journal=None, robustness=level)
    first | even
    first.output["odd"] | odd | negative
    report = first.run(mode=mode)
    assert report
    assert sorted(report.collected["even"]) == list(range(0, 1000, 2))
    assert sorted(report.collected["negative"]) == list(range(-999, 0, 2))
    assert [(name, part.introduced, part.completed) for name, part in report.by_consecutor.items()] == [
        ("first", 1000, 1000), ("even", 500, 500), ("odd", 500, 500), ("negative", 500, 500),
    ]  # fmt: skip
    assert report.introduced == 2500


def test_in_mode_single_all_nodes_run_in_the_calling_thread():
    seen = set()

    def note(item):
        seen.add(threading.current_thread())
        return item

    a = Consecutor([1, 2] | Map(note), "a", journal=None)
    a | Consecutor(Map(note), "b", journal=None) | Consecutor(Map(note), "c", journal=None)
    assert a.run()
    assert seen == {threading.current_thread()}


def test_branches_of_the_group_never_see_each_others_edits():
    def edit(item):
        item["seen"] += 1
        return item

    a = Consecutor([{"seen": 0} for _ in range(10)] | Map(dict), "a", journal=None)
    a | [
        Consecutor(Map(edit) | Collect("x"), "x", journal=None),
        Consecutor(Map(edit) | Collect("y"), "y", journal=None),
    ]
    report = a.run()
    assert report.collected["x"] == report.collected["y"] == [{"seen": 1}] * 10


def test_a_name_that_several_collects_have_is_told_with_its_consecutor():
    a = Consecutor([1] | Map(abs), "a", journal=None)
    a | [Consecutor(Collect("out"), "x", journal=None), Consecutor(Collect("out"), "y", journal=None)]
    assert a.run().collected == {"x.out": [1], "y.out": [1]}


@pytest.mark.parametrize("mode", MODES)
def test_an_item_is_complete_when_the_next_consecutor_has_journalled_it(mode, tmp_path, wait_for):
    """B has room for one unfinished item, and holds it: the second one stays open in a until b takes it."""
    may_go = threading.Event()

    def wait(item):
        may_go.wait(30)
        return item

    a = Consecutor(Map(abs), "a", journal=tmp_path / "a")
    b = Consecutor(Map(wait), "b", journal=tmp_path / "b", pending_max=1)
    a | b
    with a.start(mode="threads" if mode == "threads" else "single") as running:
        if mode == "single":
            may_go.set()  # the one thread would be in wait()
        first, second = running.push(1), running.push(2)
        assert first.wait(30) == "completed", "b has journalled it, though it is still in work there"
        if mode == "threads":
            assert second.outcome == "open"
            with pytest.raises(TimeoutError):
                second.wait(0.2)
            may_go.set()
        assert second.wait(30) == "completed"
    assert running.report.by_consecutor["b"].completed == 2


@pytest.mark.parametrize("mode", MODES)
def test_what_was_stopped_goes_on_with_the_next_run_and_every_count_is_exact(mode, tmp_path, wait_for):
    def build():
        a = Consecutor(range(2000) | Map(abs), "a", journal=tmp_path / "a")
        b = Consecutor(Map(slow), "b", journal=tmp_path / "b", pending_max=50)
        c = Consecutor(Map(done.append), "c", journal=tmp_path / "c")
        return a | b | c

    may_go, done = threading.Semaphore(200), []

    def slow(item):
        if not may_go.acquire(timeout=0.01):  # only so many are let through before it is stopped
            raise KeyError(item)
        return item

    running = build().start(mode=mode)
    wait_for(lambda: len(done) > 20, 30, "some items at the end of the chain")
    report = running.stop()
    assert not report.is_finished
    may_go.release(1_000_000)
    report = build().run(mode=mode)
    assert report.is_finished
    assert [report.by_consecutor[name].failed for name in "abc"] == [0, 0, 0]
    assert report.by_consecutor["a"].completed == 2000
    assert sorted(set(done)) == list(range(2000))
    for name in "bc":
        part = report.by_consecutor[name]
        assert part.introduced == part.completed >= 2000
    assert not any(has_journal(tmp_path / name) for name in "abc"), "a finished group leaves no journal"


def test_a_drained_consecutor_drains_those_behind_it(tmp_path, wait_for):
    class Total(Node):
        def process(self, item):
            done.append(item)

        def finish(self):
            done.append("finish")

    done = []
    a = Consecutor(Map(abs), "a", journal=tmp_path / "a")
    b = Consecutor(Total(), "b", journal=tmp_path / "b")
    a | b
    running = a.start()
    for number in range(10):
        running.push(number)
    report = running.drain()
    assert done == list(range(10))
    assert not report.is_finished
    assert [(one.introduced, one.completed) for one in report.by_consecutor.values()] == [(10, 10), (10, 10)]


def test_a_setup_that_raises_lets_nothing_begin():
    class Broken(Node):
        def setup(self):
            message = "no"
            raise OSError(message)

        def process(self, item):
            pass

    seen = []
    a = Consecutor([1, 2] | Map(seen.append), "a", journal=None)
    a | Consecutor(Broken(), "b", journal=None)
    with pytest.raises(UserCodeError, match="setup of node 'broken' raised"):
        a.run()
    assert seen == []


class Failing(Producer):
    """Gives three numbers, then fails until it is mended."""

    source = SourceClass.RE_READABLE
    is_mended = False

    def items(self, position):
        yield from range(position, 3)
        if not Failing.is_mended:
            message = "the source is gone"
            raise OSError(message)


def test_a_source_that_fails_ends_the_group_and_the_next_run_goes_on(tmp_path):
    done = []

    def build():
        a = Consecutor(range(5000) | Map(abs), "a", journal=tmp_path / "a")
        b = Consecutor(Map(abs), "b", journal=tmp_path / "b")
        Failing(name="failing") | b
        return a | b | Consecutor(Map(done.append), "c", journal=tmp_path / "c")

    Failing.is_mended = False
    with pytest.raises(UserCodeError, match="the source is gone"):
        build().run()
    Failing.is_mended = True
    report = build().run()
    assert report
    assert set(done) == set(range(5000))


@pytest.mark.parametrize("level", [Robustness.NONE, Robustness.CONFIRM, Robustness.TRACK, Robustness.REPLAY])
def test_dead_letters_are_an_output(level):
    a = Consecutor(range(20) | Map(is_not_seven), "a", journal=None, robustness=level, replays_max=1)
    a.failed | Consecutor(Collect("dead"), "alert", journal=None)
    report = a.run()
    (letter,) = report.collected["dead"]
    assert (letter["consecutor"], letter["item"], letter["exception"], letter["node"]) == {
        Robustness.NONE: ("a", None, "ValueError", "is_not_seven"),
        Robustness.CONFIRM: ("a", None, None, None),
        Robustness.TRACK: ("a", 7, "ValueError", "is_not_seven"),
        Robustness.REPLAY: ("a", 7, "ValueError", "is_not_seven"),
    }[level]
    assert report.failed == 1


def test_an_item_that_cannot_be_packed_is_told_by_its_repr():
    lock = threading.Lock()
    a = Consecutor(iter([lock]) | Map(is_not_seven) | Map(len), "a", journal=None, replays_max=0)
    a.failed | Consecutor(Collect("dead"), "alert", journal=None)
    (letter,) = a.run().collected["dead"]
    assert letter["item"] is None
    assert letter["item_repr"].startswith("<unlocked _thread.lock")


def test_a_dead_letter_is_told_before_its_own_journal_holds_it(tmp_path, monkeypatch):
    """Schedule: 1 alert journals the letter, 2 a dies before its commit, 3 a restarts: the letter is told again."""
    from consecution.journal.sqlite import SqliteJournal

    dead = []

    def build():
        a = Consecutor(range(20) | Map(is_not_seven), "a", journal=tmp_path / "a", replays_max=0)
        a.failed | Consecutor(Map(lambda letter: dead.append(letter["number"])), "alert", journal=tmp_path / "alert")
        return a

    commit = SqliteJournal.commit

    def die(journal, round_, **options):
        if any(part.changes.dead for part in round_.producers):
            assert has_journal(tmp_path / "alert")
            message = "the disk is gone"
            raise JournalError(message)
        commit(journal, round_, **options)

    monkeypatch.setattr(SqliteJournal, "commit", die)
    with pytest.raises(JournalError, match="the disk is gone"):
        build().run()
    monkeypatch.undo()
    report = build().run()
    assert report.by_consecutor["a"].failed == 1
    assert set(dead) == {7}
    assert report.by_consecutor["alert"].completed == len(dead) == 2


@pytest.mark.parametrize("mode", MODES)
def test_batch_ends_come_behind_the_items_of_their_batch_and_cover_all(mode):
    class Check(Node):
        def setup(self):
            self.seen = 0

        def process(self, item):
            if isinstance(item, BatchEnd):
                done.append((item, self.seen))
            else:
                self.seen += 1

    done = []
    a = Consecutor(range(1000) | Map(is_not_seven), "a", journal=None, replays_max=0)
    a | Consecutor(Check(), "b", journal=None, batch_ends=True)
    assert a.run(mode=mode).by_consecutor["a"].failed == 1
    assert sum(end.completed for end, _ in done) == 999
    assert sum(end.failed for end, _ in done) == 1
    covered = 0
    for end, seen in done:
        assert end.batch.startswith("a/sequence/")
        covered += end.completed
        assert seen >= covered, "an end came before an item of its batch"


def test_a_consecutor_that_does_not_ask_gets_no_batch_ends_nor_does_one_at_an_async_output():
    a = Consecutor(range(10) | Split(), "a", journal=None)
    a | Consecutor(Collect("plain"), "plain", journal=None)
    a.output["tap"] | Consecutor(Collect("tap"), "tapped", journal=None, batch_ends=True)
    report = a.run()
    assert not any(isinstance(item, BatchEnd) for name in ("plain", "tap") for item in report.collected[name])


def test_batch_ends_travel_through_journals_over_a_restart(tmp_path):
    seen = []

    def take(item):
        if isinstance(item, BatchEnd) and not seen:
            seen.append(item)
            raise KeyboardInterrupt
        seen.append(item)

    def build():
        a = Consecutor([1, 2, 3] | Map(abs), "a", journal=tmp_path / "a")
        return a | Consecutor(Map(take), "b", journal=tmp_path / "b", batch_ends=True)

    with pytest.raises(KeyboardInterrupt):
        Consecutor([BatchEnd("x/y/0", 1, 0)] | Map(take), "x", journal=tmp_path / "x").run()
    seen.clear()
    seen.append("begin")
    assert build().run()
    ends = [item for item in seen if isinstance(item, BatchEnd)]
    assert ends == [BatchEnd("a/sequence/0", 3, 0)]


def test_an_async_output_never_holds_back_and_its_drops_are_told(wait_for):
    may_go = threading.Event()

    def wait(item):
        may_go.wait(30)
        return item

    def end(item):
        if item == 49_999:
            may_go.set()  # all have gone by
        return item

    a = Consecutor(range(50_000) | Split(), "a", journal=None)
    a | Consecutor(Map(end), "even", journal=None)
    a.output["odd"] | Consecutor(Map(end), "odd", journal=None)
    a.output["tap"] | Consecutor(Map(wait), "slow", journal=None, pending_max=10)
    report = a.run(mode="threads")
    assert may_go.is_set()
    assert report
    dropped = report.by_consecutor["a"].outputs_dropped
    assert dropped >= 50_000 - 10_000 - 10 - 4096
    assert report.by_consecutor["slow"].completed == 50_000 - dropped
    assert report.outputs_dropped == dropped
    assert f"{dropped:,} dropped by async outputs" in str(report)


def test_dead_letters_that_are_replayed_go_on_through_what_is_behind(tmp_path):
    is_mended = []
    done = []

    def check(number):
        return number if is_mended else is_not_seven(number)

    def build():
        a = Consecutor(range(20) | Map(abs), "a", journal=tmp_path / "a")
        b = Consecutor(Map(check), "b", journal=tmp_path / "b", replays_max=0)
        a | b | Consecutor(Map(done.append), "c", journal=tmp_path / "c")
        return b

    assert build().run().failed == 1
    assert 7 not in done
    is_mended.append(True)
    report = build().replay_dead(journal=tmp_path / "b")
    assert report
    assert {name: part.introduced for name, part in report.by_consecutor.items()} == {"b": 1, "c": 1}
    assert done.count(7) == 1
    assert sorted(done) == list(range(20))


class Sum(Node):
    def setup(self):
        self.total = 0

    def process(self, number):
        self.total += number
        if self.passes_on:
            self.push(number)

    def __init__(self, *, passes_on):
        self.passes_on = passes_on

    def finish(self):
        self.push(self.total)


@pytest.mark.parametrize("passes_on", [True, False])
def test_a_run_that_starts_over_before_others_says_whose_sums_are_not_certain(passes_on, tmp_path):
    """A sums in memory, so it starts over after a death; what it had pushed before, b takes once more."""
    is_mended, totals = [], []

    class Last(Sum):
        def process(self, number):
            if number == 900 and not is_mended:
                raise KeyboardInterrupt
            super().process(number)

        def finish(self):
            totals.append(self.total)

    class First(Sum):
        def process(self, number):
            if number == 900 and not passes_on and not is_mended:
                raise KeyboardInterrupt
            super().process(number)

    def build():
        a = Consecutor(range(1000) | First(passes_on=passes_on), "a", journal=tmp_path / "a", pending_max=20)
        return a | Consecutor(Last(passes_on=False), "b", journal=tmp_path / "b", pending_max=20)

    with pytest.raises(KeyboardInterrupt):
        build().run()
    is_mended.append(True)
    report = build().run()
    assert report.is_finished
    if passes_on:
        assert report.state_lost == {"last"}
        assert not report
    else:
        assert report, "nothing had been pushed before the death"
        assert totals == [sum(range(1000))]


def test_journals_of_a_group_lie_beside_each_other(tmp_path):
    a = Consecutor(range(20) | Map(is_not_seven), "a", replays_max=0)
    a | Consecutor(Map(is_not_seven), "b", replays_max=0)
    a.run(journal=tmp_path)
    assert has_journal(tmp_path / "a"), "its dead letter is kept there"
    assert not has_journal(tmp_path / "b")


def test_consume_keeps_no_journal_of_any_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a = Consecutor(Map(abs), "a")
    a | Consecutor(Collect("out"), "b")
    assert a.consume([1, 2]).collected["out"] == [1, 2]
    assert list(tmp_path.iterdir()) == []


def test_a_group_runs_again_from_the_start():
    a = Consecutor(range(100) | Map(abs), "a", journal=None)
    a | Consecutor(Collect("out"), "b", journal=None)
    assert [a.run().collected["out"] for _ in range(3)] == [list(range(100))] * 3


def test_progress_tells_of_all_of_them():
    told = []

    def look(progress):
        told.append(progress.introduced)

    release = threading.Event()

    def slow(item):
        release.wait(0.3)
        return item

    a = Consecutor([1, 2] | Map(slow), "a", journal=None)
    a | Consecutor(Map(abs), "b", journal=None)
    a.run(progress=look)
    assert told
    assert max(told) <= 4


def test_processes_need_the_flow_in_a_file():
    a = Consecutor([1] | Map(abs), "a", journal=None)
    a | Consecutor(Map(abs), "b", journal=None)
    with pytest.raises(GraphError, match="is no global of a module"):
        a.run(mode="processes")


def test_a_journal_is_released_only_with_those_behind_it(tmp_path, wait_for):
    """A has ended, b hasn't: were a's journal gone, the next run would push all of its items again."""
    may_go, done = threading.Semaphore(10), []

    def slow(item):
        may_go.acquire(timeout=30)
        done.append(item)

    def build():
        a = Consecutor(range(100) | Map(abs), "a", journal=tmp_path / "a")
        return a | Consecutor(Map(slow), "b", journal=tmp_path / "b")

    run = build()
    running = run.start(mode="threads")
    group = running._build
    wait_for(lambda: group._members[0].is_over and len(done) >= 10, 30, "a to be over while b works")
    running._build.engine.stop()
    may_go.release(1000)
    assert not running.stop().is_finished
    assert has_journal(tmp_path / "a")
    report = build().run()
    assert report
    assert report.by_consecutor["a"].introduced == report.by_consecutor["b"].introduced == 100
    assert not any(has_journal(tmp_path / name) for name in "ab")


@pytest.mark.parametrize("mode", MODES)
def test_what_finish_pushes_and_what_a_holder_lets_go_of_leaves_by_outputs_too(mode, tmp_path):
    class Pairs(Node):
        def __init__(self):
            self.add_output("pairs")
            self.tokens, self.values = [], []

        def process(self, item):
            self.values.append(item)
            self.tokens.append(self.hold())
            if len(self.values) == 2:
                self.flush()

        def flush(self):
            if self.tokens:
                self.push(tuple(self.values), output="pairs", of=self.tokens)
                self.tokens, self.values = [], []

    class Last(Node):
        def __init__(self):
            self.add_output("total")
            self.total = 0

        def process(self, pair):
            self.total += sum(pair)

        def finish(self):
            self.output["total"].send(self.total)

    a = Consecutor(range(101) | Pairs(), "a", journal=tmp_path / "a")
    b = Consecutor(Last(), "b", journal=tmp_path / "b")
    c = Consecutor(Collect("total"), "c", journal=tmp_path / "c")
    a.output["pairs"] | b.output["total"] | c
    report = a.run(mode=mode)
    assert report
    assert report.by_consecutor["b"].introduced == 51
    assert report.collected["total"] == [sum(range(101))]


@pytest.mark.parametrize("mode", MODES)
def test_parallel_tasks_and_async_and_batch_nodes_send_to_one_output(mode):
    class Many(Split):
        def __init__(self):
            Node.__init__(self, parallelism=3, grouping="shuffle")
            Split.__init__(self)

    class Awaits(Node):
        def __init__(self):
            self.add_output("odd")

        async def process(self, number):
            self.output["odd"].send(number)

    class Batches(Node):
        def __init__(self):
            self.add_output("odd")

        def process_batch(self, numbers):
            for place, number in enumerate(numbers):
                self.push(number, output="odd", of=place)

    a = Consecutor(range(500) | Map(abs) | [Many(), Awaits(), Batches()], "a", journal=None)
    a.output["odd"] | Consecutor(Collect("odd"), "b", journal=None)
    report = a.run(mode=mode)
    assert report
    assert sorted(report.collected["odd"]) == sorted([*range(1, 500, 2), *range(500), *range(500)])


def test_a_full_disk_behind_holds_those_before_back_until_there_is_space(tmp_path, monkeypatch):
    from consecution.journal.base import JournalFull
    from consecution.journal.sqlite import SqliteJournal

    append = SqliteJournal.append
    refused = []

    def full(journal, producer, first_seq, items, keys=None, **options):
        if producer == "a.default" and len(refused) < 3:
            refused.append(first_seq)
            message = "no space"
            raise JournalFull(message)
        append(journal, producer, first_seq, items, keys, **options)

    monkeypatch.setattr(SqliteJournal, "append", full)
    a = Consecutor(range(100) | Map(abs), "a", journal=tmp_path / "a")
    done = []
    a | Consecutor(Map(done.append), "b", journal=tmp_path / "b")
    assert a.run()
    assert len(refused) == 3
    assert done == list(range(100))


def test_a_replay_does_not_end_sums_behind_it_that_were_cut_off(tmp_path):
    is_mended = []

    class Total(Node):
        def setup(self):
            self.total = 0

        def process(self, number):
            if number == 15 and not is_mended:
                raise KeyboardInterrupt
            self.total += number

        def finish(self):
            totals.append(self.total)

    totals = []

    def build():
        a = Consecutor(
            range(20) | Map(lambda x: x if is_mended else is_not_seven(x)), "a", journal=tmp_path / "a", replays_max=0
        )
        a | Consecutor(Total(), "b", journal=tmp_path / "b")
        return a

    with pytest.raises(KeyboardInterrupt):
        build().run()
    is_mended.append(True)
    with pytest.raises(JournalError, match=r"consecutor b, behind a, sums in memory.*run the flow first"):
        build().replay_dead(journal=tmp_path / "a")
    assert totals == []
    build().run()
    assert totals
