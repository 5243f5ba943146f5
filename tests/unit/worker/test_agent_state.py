"""The agent's core: what is wanted here against what runs here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from consecution_worker.config import Limits
from consecution_worker.events import (
    AgentEvent,
    AnswerLog,
    Came,
    Carry,
    ChildExited,
    ChildFigures,
    ChildMute,
    ChildNotStarted,
    ChildSaid,
    ChildStarted,
    CodeFailed,
    CodeMissing,
    CodeUnpacked,
    DumpStack,
    Exit,
    KillChild,
    Leave,
    LeaveWord,
    Listen,
    Looked,
    LookForCode,
    NewsCame,
    Note,
    NotSent,
    Redial,
    Relay,
    RemoveCode,
    RemoveJournal,
    Send,
    StartChild,
    StoreCode,
    Tick,
)

from consecution.wire.cluster.from_worker import AskBundle, AskPlacement, ChildPhase, Heartbeat, Register
from consecution.wire.cluster.parcel import Refused
from consecution.wire.cluster.to_worker import (
    STOP_S,
    BundleChunk,
    FetchLog,
    ForChild,
    Heard,
    KeptJournal,
    NumbersNews,
    PlacementIs,
    PlacementNews,
    RegisterAgain,
    Registered,
    Wanted,
)
from consecution.wire.control import AskItems, Born, Broke, ItemsAre, Letter, PausedAt, PushedIn, PushIn, Told
from consecution.wire.placement import Phase
from tests.unit.worker.builders import CODE, FIGURES, SETTINGS, Desk, child_id, order, placement

KEEP = RemoveCode(frozenset({CODE.sha256}))


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.register()
    return desk


def sends(found: list, kind: type) -> list:  # type: ignore[type-arg]
    return [one.message for one in found if isinstance(one, Send) and isinstance(one.message, kind)]


# ---- registration ----------------------------------------------------------------------------------------------------


def test_it_registers_again_and_again_until_it_is_in() -> None:
    desk = Desk()
    assert len(sends(desk.does(Tick()), Register)) == 1
    assert len(sends(desk.ticks(3.0), Register)) == 3
    assert desk.does(Came(Registered(7001))) == [Listen(7001)]
    assert not sends(desk.ticks(3.0), Register)


def test_a_journal_is_removed_when_it_is_told_unless_a_child_runs_on_it() -> None:
    desk = Desk()
    desk.register()
    old, other = KeptJournal("flow", "flow.1.g0.t1"), KeptJournal("joined", "joined.1.g0.t1")
    running = replace(order(child_id()), journal=old.name)
    desk.wanted += 1
    found = desk.does(Came(Wanted(desk.wanted, "session", (running,), (), (CODE,), ("flow",), (old, other))))
    assert RemoveJournal(other) in found
    assert RemoveJournal(old) not in found


def test_what_found_no_connection_goes_again_soon_but_not_for_ever(desk: Desk) -> None:
    desk = Desk()
    for _ in range(5):
        assert len(sends(desk.does(Tick(), 0.11), Register)) == 1
        desk.does(NotSent())
    desk.ticks(10.0)
    desk.does(NotSent())
    assert len(sends(desk.ticks(3.0), Register)) == 3


def test_a_worker_that_is_there_first_says_that_it_waits() -> None:
    agent, now = Desk().agent, 100.0
    said: list[str] = []

    def does(event: AgentEvent) -> None:
        said.extend(one.text for one in agent.handle(event, now) if isinstance(one, Note))

    for _ in range(8):
        now += 0.5
        does(Tick())
    assert said == ["no coordinator answers yet; this worker waits for it, and looks again all the time"]
    does(Came(Registered(7001)))
    does(Tick())
    assert said[1:] == ["registered as 'w1' with 2 slots"]
    for _ in range(8):
        now += 0.5
        does(Tick())
    assert "what runs here goes on" in said[2]
    does(Came(Heard(1, 0, 0, 0)))
    does(Tick())
    assert said[3:] == ["the coordinator is back"]


def test_a_final_refusal_ends_the_agent_with_the_reason() -> None:
    desk = Desk()
    desk.does(Tick())
    assert desk.does(Came(Refused("name 'w1' is taken"))) == [Exit("name 'w1' is taken")]
    assert desk.agent.is_over


def test_a_refusal_for_now_is_asked_again() -> None:
    desk = Desk()
    desk.does(Tick())
    assert desk.does(Came(Refused("starting up", is_final=False))) == []
    assert sends(desk.ticks(2.0), Register)


def test_a_restarted_coordinator_is_told_all_that_runs_and_nothing_is_touched(desk: Desk) -> None:
    child = desk.runs()
    assert desk.does(Came(RegisterAgain())) == []
    (register,) = sends(desk.does(Tick()), Register)
    assert [(state.id, state.phase, state.incarnation) for state in register.children] == [(child, ChildPhase.BORN, 11)]
    assert desk.does(Came(Registered(7001))) == []  # the same port: it listens already
    assert desk.does(Came(Wanted(1, "session", (order(child),), (), (CODE,), ("flow",)))) == [KEEP]


def test_a_silent_coordinator_changes_nothing_for_the_children(desk: Desk) -> None:
    child = desk.runs()
    found: list[object] = []
    for _ in range(60):
        desk.does(ChildSaid(child, Told(1)))
        found += desk.ticks(1.0)
    assert not [one for one in found if isinstance(one, (KillChild, Relay, Exit))]
    assert len(sends(found, AskPlacement)) > 15  # it asks for what it may have missed


def test_a_connection_by_which_nothing_comes_is_made_anew_soon_then_ever_later(desk: Desk) -> None:
    """What a cut of two seconds needs.

    1. The coordinator's last word. 2. The link is cut for two seconds: whatever is sent goes into a connection that the
    kernel will try again a second and more after the link has healed. 3. The connection is made anew each half second,
    and a heartbeat goes each tenth: the first that gets through is in time for the limit of three seconds.
    """
    desk.does(Came(Heard(1, 0, 0, 0)))
    assert not [one for one in desk.ticks(0.75) if isinstance(one, Redial)]
    soon = desk.ticks(2.0)
    assert len([one for one in soon if isinstance(one, Redial)]) == 4
    assert len(sends(soon, Heartbeat)) >= 6  # nearly each time that the shell looks
    later = desk.ticks(60.0)
    assert 5 <= len([one for one in later if isinstance(one, Redial)]) <= 10
    assert len(sends(later, Heartbeat)) <= 125
    desk.does(Came(Heard(1, 0, 0, 0)))
    assert not [one for one in desk.ticks(0.75) if isinstance(one, Redial)]


def test_orders_for_an_earlier_start_of_this_worker_are_ignored(desk: Desk) -> None:
    assert desk.does(Came(Wanted(5, "another session", (order(),), (), (CODE,), ("flow",)))) == []
    desk.wants()
    assert desk.does(Came(Wanted(1, "session", (order(),), (), (CODE,), ("flow",)))) == []


# ---- code ------------------------------------------------------------------------------------------------------------


def test_code_is_fetched_in_parts_once_for_all_that_need_it(desk: Desk) -> None:
    assert desk.wants(order(child_id(0)), order(child_id(1))) == [LookForCode(CODE), KEEP]
    assert desk.does(CodeMissing("c0de")) == [Send(AskBundle("c0de", 0))]
    assert desk.does(Came(BundleChunk("c0de", 0, 5, b"abc"))) == [
        StoreCode("c0de", b"abc", is_last=False),
        Send(AskBundle("c0de", 3)),
    ]
    assert desk.does(Came(BundleChunk("c0de", 0, 5, b"abc"))) == []  # a question that was asked twice
    assert desk.does(Came(BundleChunk("c0de", 3, 5, b"de!"))) == []  # more than was announced
    assert desk.does(Came(BundleChunk("c0de", 3, 5, b"de"))) == [StoreCode("c0de", b"de", is_last=True)]
    started = desk.does(CodeUnpacked("c0de"))
    assert started == [StartChild(order(child_id(0))), StartChild(order(child_id(1)))]


def test_a_part_that_doesnt_come_is_asked_for_again(desk: Desk) -> None:
    desk.wants(order())
    desk.does(CodeMissing("c0de"))
    assert len(sends(desk.ticks(4.5), AskBundle)) == 2


def test_code_that_cant_be_had_is_an_exit_of_who_needs_it(desk: Desk) -> None:
    desk.wants(order())
    desk.does(CodeFailed("c0de", "its checksum is wrong"))
    (ended,) = desk.heartbeat().exits
    assert (ended.id, ended.code, ended.broke, ended.message) == (child_id(), None, "bundle", "its checksum is wrong")
    assert ended.was_wanted
    assert desk.wants(order(child_id(attempt=2))) == [LookForCode(CODE), KEEP]  # a new start begins again


def test_a_bundle_that_is_too_large_is_refused_before_it_is_fetched() -> None:
    desk = Desk(Limits(bundle_bytes_max=4))
    desk.register()
    assert desk.wants(order()) == [KEEP]
    assert desk.heartbeat().exits[0].message == "its bundle has 5 bytes; this worker takes at most 4"


def test_an_order_without_its_bundle_is_an_exit_not_a_crash(desk: Desk) -> None:
    desk.wants(order(bundle="other"))
    assert "names no bundle other" in desk.heartbeat().exits[0].message


def test_an_acker_needs_no_code(desk: Desk) -> None:
    acker = order(child_id(role="acker"), bundle="")
    assert desk.wants(acker) == [KEEP, StartChild(acker)]


# ---- starting and ending ---------------------------------------------------------------------------------------------


def test_nothing_is_started_twice_under_one_id(desk: Desk) -> None:
    child = desk.runs()
    assert desk.wants(order(child)) == [KEEP]
    desk.does(ChildExited(child, -9))
    assert desk.wants(order(child)) == [KEEP]
    desk.does(Came(Heard(1, exits=1, letters=0, wanted=3)))
    assert desk.wants(order(child)) == [KEEP]


def test_a_new_start_waits_until_the_earlier_one_is_reaped(desk: Desk) -> None:
    first, second = desk.runs(), child_id(attempt=2)
    assert desk.wants(order(second), kills=(first,)) == [KillChild(first), KEEP]
    assert desk.heartbeat().children[1].note == "waits for the end of start 1"
    assert desk.does(ChildExited(first, -9)) == [StartChild(order(second))]
    assert not desk.heartbeat().exits[0].was_wanted


def test_what_isnt_wanted_any_more_may_exit_by_itself_and_is_then_killed(desk: Desk) -> None:
    child = desk.runs()
    desk.does(NewsCame(PlacementNews(placement(2, 11))))
    assert desk.wants() == [KEEP]
    assert desk.heartbeat().children[0].phase is ChildPhase.STOPPING
    assert not [one for one in desk.ticks(STOP_S - 1) if isinstance(one, KillChild)]
    assert [one for one in desk.ticks(1.5) if isinstance(one, KillChild)] == [KillChild(child)]
    desk.does(ChildExited(child, -9, runs=((5, 0, 1),)))
    (ended,) = desk.heartbeat().exits
    assert not ended.was_wanted
    assert ended.runs == ()  # nobody is to blame for an order


def test_what_isnt_wanted_any_more_and_was_never_listed_is_killed_at_once(desk: Desk) -> None:
    child = desk.runs()
    assert desk.wants() == [KillChild(child), KEEP]


def test_what_waits_for_its_code_and_isnt_wanted_any_more_is_forgotten(desk: Desk) -> None:
    desk.wants(order())
    desk.wants()
    beat = desk.heartbeat()
    assert beat.children == ()
    assert [(ended.id, ended.was_wanted) for ended in beat.exits] == [(child_id(), False)]


def test_a_process_that_cant_be_started_is_an_exit(desk: Desk) -> None:
    desk.wants(order(child_id(), bundle=""))
    desk.does(ChildNotStarted(child_id(), "too many open files"))
    assert desk.heartbeat().exits[0].broke == "start"


def test_a_placement_that_leaves_a_child_out_makes_its_exit_no_death(desk: Desk) -> None:
    child = desk.runs()
    desk.does(NewsCame(PlacementNews(placement(2, 11))))
    desk.does(NewsCame(PlacementNews(placement(3, 99))))
    desk.does(ChildExited(child, 0))
    (ended,) = desk.heartbeat().exits
    assert (ended.was_wanted, ended.cause) == (False, None)


def test_a_child_that_was_left_out_and_doesnt_exit_is_killed(desk: Desk) -> None:
    child = desk.runs()
    desk.does(NewsCame(PlacementNews(placement(2, 11))))
    desk.does(NewsCame(PlacementNews(placement(3))))
    assert KillChild(child) in desk.ticks(STOP_S + 1)


# ---- deaths ----------------------------------------------------------------------------------------------------------


def test_a_crash_is_told_with_what_was_in_work_until_it_is_confirmed(desk: Desk) -> None:
    child = desk.runs()
    desk.does(ChildExited(child, -11, runs=((77, 3, 1),), log_tail="Segmentation fault"))
    for _ in range(3):
        (ended,) = desk.heartbeat().exits
        assert (ended.number, ended.incarnation, ended.code, ended.runs) == (1, 11, -11, ((77, 3, 1),))
        assert ended.was_wanted
        assert "SIGSEGV" in ended.cause.message
        assert ended.log_tail == "Segmentation fault"
    desk.does(Came(Heard(3, exits=1, letters=0, wanted=1)))
    assert desk.heartbeat().exits == ()


def test_exit_code_0_in_the_middle_of_the_work_is_a_death(desk: Desk) -> None:
    child = desk.runs()
    desk.does(ChildExited(child, 0, runs=((77, 0, 1),)))
    (ended,) = desk.heartbeat().exits
    assert ended.was_wanted
    assert "exited with code 0 in the middle" in ended.cause.message


def test_a_death_is_told_within_a_fraction_of_a_second(desk: Desk) -> None:
    child = desk.runs()
    desk.ticks(0.1)
    desk.does(ChildExited(child, -9))
    assert desk.agent.due() - desk.now < 0.1


def test_what_broke_is_told_in_the_childs_own_words(desk: Desk) -> None:
    child = desk.runs()
    desk.does(ChildSaid(child, Broke("flow", "no module named x", "Traceback…")))
    desk.does(ChildExited(child, 4, runs=((1, 0, 1),)))
    (ended,) = desk.heartbeat().exits
    assert (ended.broke, ended.message, ended.traceback, ended.runs) == ("flow", "no module named x", "Traceback…", ())


def test_a_hung_call_is_asked_for_its_stack_and_killed_and_blamed(desk: Desk) -> None:
    child = desk.runs(settings=replace(SETTINGS, call_timeout_s=5.0))
    desk.does(ChildSaid(child, Told(1, oldest_s=4.9)))
    assert DumpStack(child) not in desk.does(Tick())
    desk.does(ChildSaid(child, Told(1, oldest_s=5.2)), 0.25)
    assert DumpStack(child) in desk.does(Tick())
    assert KillChild(child, is_blamed=True) not in desk.does(Tick(), 0.1)
    assert KillChild(child, is_blamed=True) in desk.ticks(0.5)
    stack = 'printed\nCurrent thread 0x1 (most recent call first):\n  File "/x/flow.py", line 7 in parse\n'
    desk.does(ChildExited(child, -9, runs=((77, 3, 1),), stack=stack))
    (ended,) = desk.heartbeat().exits
    assert ended.runs == ((77, 3, 1),)
    assert "call_timeout_s (5 s); it was in /x/flow.py, line 7 in parse" in ended.cause.message
    assert ended.cause.traceback.startswith("Current thread")


def test_a_call_that_holds_the_interpreters_lock_is_hung_by_its_silence(desk: Desk) -> None:
    child = desk.runs(settings=replace(SETTINGS, call_timeout_s=5.0))
    assert DumpStack(child) not in desk.ticks(4.5)
    assert DumpStack(child) in desk.ticks(1.0)


def test_a_call_that_ends_after_all_is_not_killed(desk: Desk) -> None:
    child = desk.runs(settings=replace(SETTINGS, call_timeout_s=5.0))
    desk.does(ChildSaid(child, Told(1, oldest_s=5.2)))
    assert DumpStack(child) in desk.does(Tick())
    desk.does(ChildSaid(child, Told(1, oldest_s=0.0)), 0.25)
    assert KillChild(child) not in desk.ticks(3.0)


def test_a_stopped_process_is_killed_and_nothing_is_blamed(desk: Desk) -> None:
    child = desk.runs(settings=replace(SETTINGS, call_timeout_s=2.0))
    stopped = Looked(FIGURES, {child: ChildFigures(1 << 20, 0.0, is_stopped=True)})
    desk.does(stopped)
    found = desk.ticks(5.0)
    assert KillChild(child) not in found
    assert DumpStack(child) not in found  # a stopped process isn't hung
    desk.does(stopped)
    assert KillChild(child) in desk.ticks(0.5)
    desk.does(ChildExited(child, -9, runs=((77, 3, 1),)))
    (ended,) = desk.heartbeat().exits
    assert ended.runs == ()
    assert "stopped (SIGSTOP) for more than 5 s" in ended.cause.message


def test_a_short_stop_does_nothing(desk: Desk) -> None:
    child = desk.runs()
    desk.does(Looked(FIGURES, {child: ChildFigures(0, 0.0, is_stopped=True)}))
    desk.ticks(4.0)
    desk.does(Looked(FIGURES, {child: ChildFigures(0)}))
    assert KillChild(child) not in desk.ticks(4.0)


def test_the_memory_limit_kills_and_blames_the_work_in_hand() -> None:
    desk = Desk(memory_bytes_max=100 << 20)
    desk.register()
    child = desk.runs()
    desk.does(Looked(FIGURES, {child: ChildFigures(99 << 20)}))
    assert KillChild(child) not in desk.does(Tick())
    desk.does(Looked(FIGURES, {child: ChildFigures(150 << 20)}))
    assert KillChild(child, is_blamed=True) in desk.does(Tick())
    assert KillChild(child, is_blamed=True) not in desk.ticks(2.0)  # once
    desk.does(ChildExited(child, -9, runs=((77, 3, 1),)))
    (ended,) = desk.heartbeat().exits
    assert "over its memory limit: it had 150 MiB of 100 MiB" in ended.cause.message
    assert ended.runs == ((77, 3, 1),)


def test_a_process_that_never_says_a_word_is_killed(desk: Desk) -> None:
    child = child_id()
    desk.wants(order(child, bundle=""))
    desk.does(ChildStarted(child, 4000))
    assert KillChild(child) in desk.ticks(301.0)


def test_a_broken_channel_kills(desk: Desk) -> None:
    child = desk.runs()
    assert desk.does(ChildMute(child, "it sent 3 bytes that are no message")) == [KillChild(child)]


def test_after_the_agent_itself_slept_its_deadlines_begin_again(desk: Desk) -> None:
    """The machine was suspended for ten minutes: nobody is hung because of that."""
    child = desk.runs(settings=replace(SETTINGS, call_timeout_s=5.0))
    found = desk.does(Tick(), 600.0)
    assert DumpStack(child) not in found
    desk.does(ChildSaid(child, Told(1)))
    assert DumpStack(child) not in desk.ticks(3.0)


# ---- placements ------------------------------------------------------------------------------------------------------


def test_a_child_hears_placements_from_the_first_that_lists_it_each_once_in_order(desk: Desk) -> None:
    child = desk.runs()
    assert desk.does(NewsCame(PlacementNews(placement(1)))) == []
    second, third = placement(2, 11), placement(3, 11, 12)
    assert desk.does(NewsCame(PlacementNews(second))) == [Relay(child, second)]
    assert desk.does(Came(PlacementIs("flow", second))) == []
    assert desk.does(Came(PlacementIs("flow", third))) == [Relay(child, third)]
    assert desk.does(NewsCame(PlacementNews(second))) == []


def test_a_child_born_after_its_placement_hears_it_at_once(desk: Desk) -> None:
    child = child_id()
    desk.wants(order(child, bundle=""))
    desk.does(ChildStarted(child, 4000))
    listed = placement(4, 11)
    desk.does(NewsCame(PlacementNews(listed)))
    assert desk.does(ChildSaid(child, Born(11, "tcp://127.0.0.1:9", 4000, "0.1", "3.11"))) == [Relay(child, listed)]


def test_who_lags_behind_the_newest_number_asks(desk: Desk) -> None:
    desk.runs()
    desk.does(NewsCame(PlacementNews(placement(2, 11))))
    assert not sends(desk.ticks(1.0), AskPlacement)
    desk.does(NewsCame(NumbersNews({"flow": 3, "another": 9})))
    assert sends(desk.does(Tick()), AskPlacement) == [AskPlacement("flow")]
    desk.does(Came(PlacementIs("flow", placement(3, 11))))
    assert not sends(desk.ticks(1.0), AskPlacement)


def test_a_topology_of_which_nothing_is_heard_is_asked_for_each_three_seconds(desk: Desk) -> None:
    desk.runs()
    desk.does(NewsCame(PlacementNews(placement(2, 11))))
    assert len(sends(desk.ticks(10.0), AskPlacement)) == 3


def test_the_same_name_submitted_again_counts_its_placements_from_the_start(desk: Desk) -> None:
    first = desk.runs()
    desk.does(NewsCame(PlacementNews(placement(9, 11, phase=Phase.ENDED))))
    desk.does(ChildExited(first, 0))
    second = desk.runs(child_id(run=2), incarnation=12)
    listed = placement(1, 12)
    assert desk.does(NewsCame(PlacementNews(listed))) == [Relay(second, listed)]


def test_a_topology_without_a_placement_yet_ends_nothing(desk: Desk) -> None:
    child = desk.runs()
    desk.does(Came(PlacementIs("flow", None)))
    assert desk.heartbeat().children[0].phase is ChildPhase.BORN
    assert KillChild(child) not in desk.ticks(STOP_S + 1)


# ---- what is told ----------------------------------------------------------------------------------------------------


def test_a_heartbeat_goes_each_half_second_and_holds_the_newest_of_each_child(desk: Desk) -> None:
    child = desk.runs()
    desk.does(ChildSaid(child, PausedAt(3, made=7, done=6)))
    desk.does(ChildSaid(child, Told(2, items_done=5)))
    beat = desk.heartbeat()
    (state,) = beat.children
    assert (state.id, state.ready, state.paused, state.told) == (child, 1, 3, Told(2, items_done=5))
    assert (state.made, state.done) == (7, 6)
    assert beat.number < desk.heartbeat().number
    count = 0
    for _ in range(10):
        desk.does(Came(Heard(1, 0, 0, 0)))
        count += len(sends(desk.ticks(1.0), Heartbeat))
    assert count == 20


def test_dead_letters_are_told_until_they_are_confirmed(desk: Desk) -> None:
    child = desk.runs()
    letters = tuple(Letter("rows", seq, b"x", "'x'", 4, None) for seq in range(250))
    desk.does(ChildSaid(child, Told(1, letters=letters)))
    told = desk.heartbeat()
    assert [(one.number, len(one.letters)) for one in told.letters] == [(1, 100), (2, 100), (3, 50)]
    assert told.children[0].told is not None
    assert told.children[0].told.letters == ()
    desk.does(Came(Heard(1, exits=0, letters=2, wanted=1)))
    assert [one.number for one in desk.heartbeat().letters] == [3]


def test_a_letter_that_is_too_large_for_a_heartbeat_travels_without_its_item(desk: Desk) -> None:
    child = desk.runs()
    desk.does(ChildSaid(child, Told(1, letters=(Letter("rows", 0, b"x" * 900_000, "'xxx…", 4, None),))))
    assert desk.heartbeat().letters[0].letters[0].item is None


def test_large_letters_are_spread_over_heartbeats(desk: Desk) -> None:
    child = desk.runs()
    letters = tuple(Letter("rows", seq, b"x" * 100_000, "'xxx…", 4, None) for seq in range(10))
    desk.does(ChildSaid(child, Told(1, letters=letters)))
    seen = 0
    for _ in range(10):
        told = desk.heartbeat().letters
        assert sum(len(letter.item or b"") for one in told for letter in one.letters) <= 300_000
        if not told:
            break
        seen += sum(len(one.letters) for one in told)
        desk.does(Came(Heard(1, exits=0, letters=told[-1].number, wanted=1)))
    assert seen == 10


def test_a_part_of_a_log_is_read_by_the_shell(desk: Desk) -> None:
    question = FetchLog("flow", "executor", 0)
    assert desk.does(Came(question, "r1")) == [AnswerLog(question, "r1")]


def test_the_figures_of_host_and_child_travel_in_the_heartbeat(desk: Desk) -> None:
    child = desk.runs()
    host = replace(FIGURES, cpu=0.5)
    desk.does(Looked(host, {child: ChildFigures(50 << 20, 0.9)}))
    beat = desk.heartbeat()
    assert (beat.figures, beat.children[0].memory_bytes, beat.children[0].cpu) == (host, 50 << 20, 0.9)


# ---- leaving ---------------------------------------------------------------------------------------------------------


def test_leaving_with_nothing_to_move_says_goodbye_and_ends(desk: Desk) -> None:
    desk.does(Leave())
    found = desk.does(Tick())
    assert found[-1] == Exit()
    assert found[-2].message.is_leaving  # type: ignore[union-attr]


def test_leaving_waits_until_its_work_is_moved(desk: Desk) -> None:
    child = desk.runs()
    desk.does(Leave())
    assert desk.heartbeat().is_leaving
    desk.does(Came(Heard(1, exits=0, letters=0, wanted=1)))
    assert not [one for one in desk.ticks(2.0) if isinstance(one, (KillChild, Exit))]
    desk.wants()
    desk.does(ChildExited(child, 0))
    assert desk.does(Tick())[-1] == Exit()


def test_leaving_takes_no_new_work(desk: Desk) -> None:
    desk.runs()
    desk.does(Leave())
    assert desk.wants(order(child_id()), order(child_id(1), bundle="")) == [KEEP]


def test_leaving_kills_what_wasnt_moved_in_time(desk: Desk) -> None:
    child = desk.runs()
    desk.does(Leave())
    found: list[object] = []
    for _ in range(11):
        desk.does(Came(Heard(1, exits=0, letters=0, wanted=1)))
        found += desk.ticks(1.0)
    assert KillChild(child) in found
    desk.does(ChildExited(child, -9, runs=((1, 0, 1),)))
    assert desk.does(Tick())[-1] == Exit()


def test_leaving_without_a_coordinator_doesnt_wait_for_it(desk: Desk) -> None:
    child = desk.runs()
    desk.ticks(4.0)
    desk.does(Leave())
    assert KillChild(child) in desk.does(Tick())


def test_asked_twice_to_leave_it_kills_at_once(desk: Desk) -> None:
    child = desk.runs()
    desk.does(Leave())
    desk.does(Leave())
    assert KillChild(child) in desk.does(Tick())


# ---- the journal's next start ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [((1, 0, 1),), ()])
def test_a_crash_leaves_word_for_the_next_start_on_its_journal(
    desk: Desk, runs: tuple[tuple[int, int, int], ...]
) -> None:
    child = child_id()
    wanted = replace(order(child, bundle=""), journal="flow.1")
    desk.wants(wanted)
    desk.does(ChildStarted(child, 4000))
    desk.does(ChildSaid(child, Born(11, "tcp://127.0.0.1:9", 4000, "0.1", "3.11")))
    (left,) = desk.does(ChildExited(child, -11, runs=runs))
    assert isinstance(left, LeaveWord)
    assert left.order == wanted
    assert "SIGSEGV" in left.cause.message


def test_a_kill_with_nothing_in_work_leaves_no_word(desk: Desk) -> None:
    """Else the next start would take the only item under way for its cause."""
    child = child_id()
    desk.wants(replace(order(child, bundle=""), journal="flow.1"))
    desk.does(ChildStarted(child, 4000))
    desk.does(ChildSaid(child, Born(11, "tcp://127.0.0.1:9", 4000, "0.1", "3.11")))
    assert not [one for one in desk.does(ChildExited(child, -9)) if isinstance(one, LeaveWord)]


# ---- what clients want of a child ------------------------------------------------------------------------------------


def test_a_push_is_carried_to_the_child_and_its_answer_to_the_coordinator(desk: Desk) -> None:
    child = desk.runs()
    push, ask = PushIn("r1", 0, b"items", ("k",)), AskItems("r2", 0, (1,))
    assert desk.does(Came(ForChild(child, push=push))) == [Carry(child, push)]
    assert desk.does(Came(ForChild(child, ask=ask))) == [Carry(child, ask)]
    for answer in (PushedIn("r1", "manual", (0,)), ItemsAre("r2")):
        assert desk.does(ChildSaid(child, answer)) == [Send(answer)]


def test_a_push_for_a_child_that_does_not_run_may_be_asked_again(desk: Desk) -> None:
    gone = child_id()
    (pushed,) = sends(desk.does(Came(ForChild(gone, push=PushIn("r1", 0, b"", ())))), PushedIn)
    assert (pushed.request, pushed.is_final, "isn't running now" in pushed.error) == ("r1", False, True)
    (fates,) = sends(desk.does(Came(ForChild(gone, ask=AskItems("r2", 0, (1,))))), ItemsAre)
    assert "isn't running now" in fates.error
