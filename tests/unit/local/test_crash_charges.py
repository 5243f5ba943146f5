"""A death charges one item alone, and what it charges outlives the next death (protocol.md R15)."""

from __future__ import annotations

from pathlib import Path

import pytest

from consecution import Map, Node, UserCodeError
from consecution.graph import Dag
from consecution.guarantee.ids import id_maker
from consecution.guarantee.levels import Robustness
from consecution.guarantee.messages import Cause, Verdict
from consecution.journal.slots import CrashSlots
from consecution.local.opening import Identity, OpenedIntake, Settings, open_intake
from consecution.local.restart import FOLDER, InWorkFiles, Suspicion, leave_cause
from consecution.plan.stages import plan_of
from consecution.producers import as_producer
from consecution.wire.placement import Death

NAME = "sequence"
REPLAYS_MAX = 1


class Lives:
    """One journal, and the lives of the process that has it."""

    def __init__(self, folder: Path, node: Node | None = None, rows: tuple[list[int], ...] = ([10, 11, 12],)) -> None:
        self.folder = folder
        self.rows = rows
        self.node = Map(abs) if node is None else node
        self.new_id = id_maker(b"lives")
        self.opened: OpenedIntake | None = None

    def begin(self, *, is_careful: bool = False, deaths: tuple[Death, ...] = ()) -> OpenedIntake:
        dag = Dag.of(self.node, "flow")
        self.opened = open_intake(
            dag,
            plan_of(dag, [dag.entries]),
            [(as_producer(rows), dag.entries) for rows in self.rows],
            Settings("flow", Robustness.REPLAY, REPLAYS_MAX, 30.0, 100, self.folder),
            identity=Identity(self.new_id, lambda: 1, lambda owner: self.new_id),
            incarnation_of=lambda task: 2,
            is_careful=is_careful,
            deaths=deaths,
        )
        self.opened.begin()
        self.opened.intake.be_careful(is_careful)
        return self.opened

    def dies(self, *in_work: tuple[int, int, int]) -> None:
        """The process dies with these origins in work; `InWorkFiles` finds them at the next start."""
        assert self.opened is not None
        slots = CrashSlots(self.folder / FOLDER / "host-0")
        slots.write(in_work)
        slots.close()
        self.opened.abandon()
        self.opened = None

    def root_of(self, seq: int, producer: int = 0) -> int:
        """The root under which an item is out."""
        assert self.opened is not None
        feed = self.opened.intake.feeds[producer]
        return next(root for root, load in feed.window._out.items() if seq in load.seqs)


@pytest.fixture
def lives(tmp_path):
    one = Lives(tmp_path / "journal")
    yield one
    if one.opened is not None:
        one.opened.abandon()


def turn(opened):
    """Take back, commit and send, as some turns of the engine do."""
    for _ in range(3):
        opened.intake.commit(100.0, force=True)
        opened.intake.feed(100.0, reads=True, draining=False)
        list(opened.intake.due())


def test_a_charge_is_in_the_journal_before_anything_runs(lives):
    """The schedule: two items that kill their process took turns for ever.

    1. Item 0 dies alone for the second time; the restart makes a dead letter of it, in memory.
    2. In the same turn item 1 goes out and kills the process, before the dead letter is committed.
    3. The next start charges item 1, knows nothing of item 0's second attempt, and sends it out again.
    """
    opened = lives.begin()
    for _ in range(1 + REPLAYS_MAX):
        turn(opened)
        lives.dies((lives.root_of(0), 0, 1))
        opened = lives.begin()
    opened.abandon()  # it dies again, of something else, before its window has committed anything
    opened = lives.begin()
    turn(opened)
    [letter] = opened.journal.dead_letters()
    assert (letter.seq, letter.attempts) == (0, 1 + REPLAYS_MAX)
    assert letter.cause is not None
    assert letter.cause.exception == "ProcessDied"


def test_an_item_is_not_charged_for_a_death_with_another_in_work_whose_root_was_replaced(lives):
    """The schedule: an innocent was charged.

    1. A tree with the guilty item is lost; the item goes out again under a new root, the old one is forgotten.
    2. A chunk joins a left-over value of the old root with an innocent item, and the process dies of it.
    3. The slot names two roots, and the table knows only the innocent's.
    """
    opened = lives.begin()
    turn(opened)
    innocent, unknown = lives.root_of(0), 4711
    lives.dies((innocent, 0, 1), (unknown, 0, 1))
    assert InWorkFiles(lives.folder).suspicion([NAME], ()) == Suspicion({NAME: [0]})
    opened = lives.begin()
    turn(opened)
    assert lives.root_of(0)
    assert not opened.journal.dead_letters()


class Adds(Node):
    def process(self, item):
        pass

    def finish(self):
        pass


def test_a_pass_that_starts_over_behind_the_dead_letter_of_a_crash_gives_each_item_its_own_number(tmp_path):
    """1. Item 0 kills its process until it is a dead letter. 2. Another death: the pass starts over, but for that.

    The journal then has mark 0, whose position the source is opened at, and says that item 0 is finished.
    """
    lives = Lives(tmp_path / "journal", Adds())
    opened = lives.begin()
    for _ in range(1 + REPLAYS_MAX):
        turn(opened)
        lives.dies((lives.root_of(0), 0, 1))
        opened = lives.begin()
    turn(opened)
    opened.abandon()
    opened = lives.begin()
    [feed] = opened.intake.feeds
    opened.intake.commit(100.0, force=True)
    assert feed.kept.mark == 0, "nobody knows the position of item 1 yet"
    turn(opened)
    out = {seq: item for load in feed.window._out.values() for seq, item in zip(load.seqs, load.items(), strict=True)}
    assert out == {1: 11, 2: 12}
    assert feed.kept.mark == 1
    assert [letter.seq for letter in opened.journal.dead_letters()] == [0]
    opened.abandon()


SEGV = Cause("", "ExecutorDied", "killed by signal 11 (SIGSEGV)")


def test_the_only_item_under_way_at_crashes_with_an_empty_slot_is_charged_while_items_go_one_by_one(lives):
    """An item damages its process, which dies later. Item 0 is innocent: it is completed before item 1 goes out."""
    opened = lives.begin(is_careful=True)
    turn(opened)
    [feed] = opened.intake.feeds
    feed.settle(Verdict(lives.root_of(0), 1), 100.0)
    for _ in range(1 + REPLAYS_MAX):
        turn(opened)
        assert lives.root_of(1)
        lives.dies()
        leave_cause(lives.folder / FOLDER, SEGV)
        opened = lives.begin(is_careful=True)
    turn(opened)
    [letter] = opened.journal.dead_letters()
    assert (letter.seq, letter.attempts, letter.cause) == (1, 1 + REPLAYS_MAX, SEGV)
    assert lives.root_of(2)


def test_a_run_that_begins_anew_charges_the_item_that_killed_another_process(lives):
    """Nodes sum, so that all begin anew when a process without producers dies; its slot isn't beside the journal."""
    opened = lives.begin()
    turn(opened)
    deaths = ()
    for number in range(1 + REPLAYS_MAX):
        index = 0 if number else 1  # after the first death it travels alone
        deaths = (*deaths, Death(50 + number, ((lives.root_of(1), index, 1),), False, SEGV, 3 + number))
        lives.dies()
        opened = lives.begin(deaths=deaths)
        turn(opened)
    [letter] = opened.journal.dead_letters()
    assert (letter.seq, letter.attempts, letter.cause) == (1, 1 + REPLAYS_MAX, SEGV)


def test_two_processes_that_die_at_a_time_of_one_item_each_charge_both(lives):
    """The schedule: two items took turns for ever, and nobody was charged (seed 84677).

    1. Items 0 and 1 kill the executor with the producer and another one, at the same time, whenever they are replayed.
    2. The next start finds one in the slot beside the journal, and is told of the other.
    """
    turn(lives.begin())
    root = lives.root_of(0)
    other = Death(50, ((root, 1, 1),), False, SEGV, 3)
    lives.dies((root, 0, 1))
    opened = lives.begin(deaths=(other,))
    turn(opened)
    [feed] = opened.intake.feeds
    assert feed._attempts == {0: (1, True), 1: (1, True)}
    lives.dies((lives.root_of(0), 0, 1), (lives.root_of(0), 0, 1))
    many = Death(51, ((4711, 0, 1),), False, SEGV, 4)
    opened = lives.begin(deaths=(other, many))
    turn(opened)
    [feed] = opened.intake.feeds
    assert feed._attempts[1] == (1, True), "an old death, or one of another producer's item, charges nobody here"


def test_a_death_of_a_pass_before_says_nothing_of_this_one(lives):
    opened = lives.begin()
    turn(opened)
    old = Death(50, ((lives.root_of(1), 1, 1),), False, SEGV, 3)
    for _ in range(3):
        lives.dies()
        opened = lives.begin(deaths=(old,))
        turn(opened)
    assert not opened.journal.dead_letters()
    assert InWorkFiles(lives.folder).suspicion([NAME], (old,)) == Suspicion({})


LEFT_OVER = (0xDEAD, 0, 1)  # of a root that was replaced since
WHYS = ["not careful", "no crash", "others under way", "one of a batch", "left over in the slot", "left over elsewhere"]


@pytest.mark.parametrize("why", WHYS)
def test_an_item_is_not_charged_for_a_crash_with_an_empty_slot_that_may_be_of_another(lives, why):
    opened = lives.begin(is_careful=why not in ("others under way", "one of a batch"))
    turn(opened)
    if why == "others under way":
        [feed] = opened.intake.feeds
        feed._root_table.put(4711, (1,))
    lives.dies(*([LEFT_OVER] if why == "left over in the slot" else []))
    if why != "no crash":
        leave_cause(lives.folder / FOLDER, SEGV)
    deaths = (Death(7, (LEFT_OVER,), False, SEGV, 3),) if why == "left over elsewhere" else ()
    opened = lives.begin(is_careful=why != "not careful", deaths=deaths)
    turn(opened)
    assert not opened.journal.dead_letters()
    [feed] = opened.intake.feeds
    assert not feed._attempts


def test_a_death_that_the_last_run_went_on_after_charges_nobody_at_the_next_start(lives):
    """The schedule: an innocent was charged for the death of its host.

    1. An executor crashes with nothing in its slot; what was under way is judged, and the run goes on.
    2. The producer's host dies with another item alone out: no word is left, and the placement tells the old death.
    """
    opened = lives.begin(is_careful=True)
    turn(opened)
    old = Death(7, (), False, SEGV, 3)
    opened.intake.hear_deaths((old,))
    for _ in range(3):
        lives.dies()
        opened = lives.begin(is_careful=True, deaths=(old,))
        turn(opened)
        [feed] = opened.intake.feeds
        assert not feed._attempts
    new = Death(8, (), False, SEGV, 4)
    lives.dies()
    opened = lives.begin(is_careful=True, deaths=(old, new))
    [feed] = opened.intake.feeds
    assert feed._attempts == {0: (1, True)}


def test_deaths_that_a_full_disk_has_no_space_to_note_change_nothing(lives, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    opened = lives.begin(is_careful=True)
    turn(opened)
    monkeypatch.setattr(Path, "write_text", full)
    opened.intake.hear_deaths((Death(7, (), False, SEGV, 3),))
    monkeypatch.undo()
    assert not (lives.folder / FOLDER / "heard").exists()


def out(opened):
    """Numbers of the items that are out, by producer."""
    return [sorted(seq for load in feed.window._out.values() for seq in load.seqs) for feed in opened.intake.feeds]


def done(opened, lives, seq, producer):
    feed = opened.intake.feeds[producer]
    feed.settle(Verdict(lives.root_of(seq, producer), feed.window.producer), 100.0)


@pytest.fixture
def two(tmp_path):
    one = Lives(tmp_path / "journal", rows=([10, 11, 12], [20, 21]))
    yield one
    if one.opened is not None:
        one.opened.abandon()


def test_where_items_go_one_by_one_they_do_over_all_producers_in_turns(two):
    """The schedule: two items of two producers, each one by one, killed their process again and again.

    1. Nobody knew which one did it, for both were under way, and so they were at each next start.
    """
    opened = two.begin(is_careful=True)
    seen = []
    for _ in range(5):
        turn(opened)
        [(producer, [seq])] = [(place, seqs) for place, seqs in enumerate(out(opened)) if seqs]
        seen.append((producer, seq))
        done(opened, two, seq, producer)
    assert seen == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]


def test_an_item_of_several_producers_that_was_the_only_one_under_way_is_charged(two):
    for _ in range(1 + REPLAYS_MAX):
        opened = two.begin(is_careful=True)
        for _ in range(10):
            turn(opened)
            [(producer, seq)] = [(place, seq) for place, seqs in enumerate(out(opened)) for seq in seqs]
            if (producer, seq) == (0, 0):
                break
            done(opened, two, seq, producer)
        assert out(opened) == [[0], []]
        two.dies()
        leave_cause(two.folder / FOLDER, Cause("", "Died", "of a crash"))
    opened = two.begin(is_careful=True)
    turn(opened)
    [letter] = opened.journal.dead_letters()
    assert (letter.producer, letter.seq, letter.attempts) == (NAME, 0, 1 + REPLAYS_MAX)


def test_while_a_suspect_must_be_alone_the_other_producers_wait(two):
    opened = two.begin()
    turn(opened)
    assert out(opened) == [[0, 1, 2], [0, 1]]
    two.dies((two.root_of(1, 1), 1, 1))
    opened = two.begin()
    turn(opened)
    assert out(opened) == [[], [1]]
    done(opened, two, 1, 1)
    turn(opened)
    turn(opened)
    assert out(opened) == [[0, 1, 2], [0]]


def test_a_suspect_that_will_not_be_taken_back_keeps_nobody_from_ending(two):
    """The schedule: a source can't be read on while another one has a suspect of before the restart.

    1. What entered is finished, and nothing more is taken back. 2. A replay of the first one must go all the same.
    """
    opened = two.begin()
    turn(opened)
    two.dies((two.root_of(1, 1), 1, 1))
    opened = two.begin()
    first, second = opened.intake.feeds
    assert (first.awaits_suspects, second.awaits_suspects) == (False, True)
    opened.intake._hold(first)
    assert first.window.is_held
    first.asking.error = UserCodeError("gone")
    opened.intake._hold(first)
    assert not first.window.is_held


def test_what_entered_is_told_when_the_journal_knows_of_it(lives):
    """The schedule: after a drain one item had no outcome.

    1. An item is read, sent and told. 2. The process dies before the journal's next round. 3. A drain reads no more.
    """
    opened = lives.begin()
    [feed] = opened.intake.feeds
    opened.intake.feed(100.0, reads=True, draining=False)
    assert (feed.window.next_seq, feed.introduced) == (3, 0)
    opened.intake.commit(100.0, force=True)
    assert feed.introduced == 3
