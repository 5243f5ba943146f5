"""The checkers are checked: each fault that is planted in the real code is found, under the promise that it breaks."""

from __future__ import annotations

import dataclasses

from consecution.executor.core import ExecutorCore
from consecution.executor.frames import Frame
from consecution.guarantee.window import Window
from consecution.guarantee.words import RunningWords
from consecution.local.feed import Feed
from consecution.testing.sim import Promise, SimWorld, Violation
from consecution.transport.links import Links
from consecution.transport.receiver_link import ReceiverLink

SEEDS_MAX = 120


def found(*promises, seeds=range(SEEDS_MAX)):
    """Whether some seed finds one of these promises broken; what else it finds on the way is no answer."""
    for seed in seeds:
        world = SimWorld(seed)
        try:
            world.run()
        except Violation as violation:
            if violation.promise in promises:
                return True
        except AssertionError:
            continue  # a core has found itself broken
    return False


def nothing(*_args, **_kwargs):
    return None


def test_a_child_whose_id_is_not_added_to_the_word_is_found(monkeypatch):
    monkeypatch.setattr(RunningWords, "created", nothing)
    assert found(Promise.NOT_EARLY)


def test_a_fail_that_does_not_ride_in_its_sum_is_found(monkeypatch):
    monkeypatch.setattr(RunningWords, "failed", nothing)
    assert found(Promise.NOT_EARLY)


def test_a_failed_item_that_counts_as_completed_is_found(monkeypatch):
    monkeypatch.setattr(Window, "_fail", lambda self, load, verdict, now: self._complete(load.seqs))
    assert found(Promise.NOT_EARLY)


def test_a_lost_tree_that_counts_as_completed_is_found(monkeypatch):
    monkeypatch.setattr(Window, "_lose", lambda self, load, verdict, now: self._complete(load.seqs))
    assert found(Promise.NOT_EARLY)


def test_neighbours_of_a_failed_item_that_are_charged_are_found(monkeypatch):
    def fail_all(self, load, verdict, now):
        for index in range(len(load.seqs)):
            self._charge(self._single(load, index), verdict.failed[0].cause, now)

    monkeypatch.setattr(Window, "_fail", fail_all)
    assert found(Promise.CHARGES)


def test_neighbours_of_a_failed_item_that_are_replayed_are_found(monkeypatch):
    real = Window._fail

    def replay_all(self, load, verdict, now):
        named = {index for fail in verdict.failed for index in fail.indexes}
        others = [index for index in range(len(load.seqs)) if index not in named]
        if not others:
            real(self, load, verdict, now)
            return
        for index in named:
            self._charge(self._single(load, index), verdict.failed[0].cause, now)
        self._waiting.add(load.part(others), now)

    monkeypatch.setattr(Window, "_fail", replay_all)
    assert found(Promise.GUILTY_ALONE)


def test_a_position_behind_the_newest_item_instead_of_the_lowest_unfinished_is_found(monkeypatch):
    real = Feed._advance
    monkeypatch.setattr(Feed, "_advance", lambda self, mark: real(self, self.window.next_seq))
    assert found(Promise.POSITION)


def test_a_dead_letter_before_its_last_attempt_is_found(monkeypatch):
    real = Window.__init__

    def one_less(self, *, replays_max, **more):
        real(self, replays_max=max(0, replays_max - 1), **more)

    monkeypatch.setattr(Window, "__init__", one_less)
    assert found(Promise.CHARGES)


def test_a_link_that_takes_numbers_out_of_order_is_found(monkeypatch):
    real = ReceiverLink._arrived

    def take_all(self, event, now, out):
        self._received = max(self._received, event.number - 1)
        real(self, event, now, out)

    monkeypatch.setattr(ReceiverLink, "_arrived", take_all)
    monkeypatch.setattr(ReceiverLink, "check_invariants", nothing)
    assert found(Promise.ORDER)


def test_what_the_dead_say_is_found_when_it_is_accepted(monkeypatch):
    real = Links._place

    def keep_all(self, event, now):
        peers = {**self._view.peers, **event.view.peers}
        return real(self, dataclasses.replace(event, view=dataclasses.replace(event.view, peers=peers)), now)

    monkeypatch.setattr(Links, "_place", keep_all)
    monkeypatch.setattr(Links, "check_invariants", nothing)
    assert found(Promise.LISTED)


def test_a_flush_that_never_comes_is_found(monkeypatch):
    monkeypatch.setattr(Window, "flush_due", nothing)
    assert found(Promise.BOOKS_EMPTY)


def test_an_end_mark_that_is_not_told_again_is_found(monkeypatch):
    monkeypatch.setattr(ExecutorCore, "reowned", lambda self, tasks: [])
    assert found(Promise.BOOKS_EMPTY)


class Loses:
    """Loses one frame between a link and the task that it is for: outside of what may happen (R2)."""

    def __init__(self, monkeypatch):
        self.lost = 0
        real = ExecutorCore._arrived

        def lose_one(core, task, sender, message):
            if isinstance(message, Frame) and message.roots and not self.lost:
                self.lost += 1
                return
            real(core, task, sender, message)

        monkeypatch.setattr(ExecutorCore, "_arrived", lose_one)


def test_the_audit_finds_a_frame_that_was_lost_and_its_items_are_replayed(monkeypatch):
    """R13, the last resort; and in a run in which nothing was planted, the same finding is a violation."""
    loses = Loses(monkeypatch)
    world = SimWorld(0)
    world.oracle.is_planted = True
    world.run()
    assert loses.lost == 1
    assert sum(process.acker is not None for process in world.processes) == 0
    assert world.audits_fired > 0
    loses.lost = 0
    assert found(Promise.NO_AUDIT, Promise.GUILTY_ALONE, seeds=(0,))
