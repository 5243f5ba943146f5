"""The calling process's own part in a run over processes, pass by pass."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from consecution import Collect, Consecutor
from consecution.executor.door import doors_in
from consecution.local.receipts import Receipt
from consecution.plan.stages import plan_of
from consecution.process.caller import Caller
from consecution.process.settings import Neighbours
from consecution.wire.placement import Role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    flow = Consecutor(range(5) | Collect("kept"), "flow")
    plan = plan_of(flow.dag, [entries for _, entries in flow.feeds])
    ids = itertools.count(1)
    one = Caller(
        flow.dag,
        plan,
        flow.feeds,
        flow.settings(tmp_path / "journal"),
        folder=tmp_path,
        doors=doors_in(flow.dag, plan, ()),
        neighbours=Neighbours(),
        new_id=lambda: next(ids),
    )
    yield one
    one.close(is_finished=False)


def test_between_passes_there_is_nothing_to_ask_and_nothing_to_wake(caller: Caller) -> None:
    for _ in range(2):
        assert (caller.intake, caller.receipts, caller.member(), caller.tasks_ended) == (None, None, None, frozenset())
        caller.wake()
        caller.close(is_finished=False)
        caller.begin(1, is_fresh=False)
        caller.close(is_finished=False)


def test_each_pass_is_another_incarnation_at_another_address(caller: Caller) -> None:
    members = []
    for birth in (1, 7):
        caller.begin(birth, is_fresh=False)
        member = caller.member()
        assert member is not None
        assert (member.role, member.birth, member.tasks) == (Role.CALLER, birth, ())
        members.append(member)
        caller.close(is_finished=False, keeps_slots=True)
    assert len({member.incarnation for member in members}) == len({member.address for member in members}) == 2


def test_what_the_journal_knew_is_asked_of_the_first_pass(caller: Caller) -> None:
    assert not caller.knew_items_of("range")
    caller.begin(1, is_fresh=False)
    assert caller.intake is not None
    (name,) = [feed.name for feed in caller.intake.feeds]
    assert not caller.knew_items_of(name)


def test_receipts_of_a_pass_that_is_not_finished_say_that_the_journal_goes_on(caller: Caller) -> None:
    caller.begin(1, is_fresh=False)
    receipts = caller.receipts
    assert receipts is not None
    receipt = Receipt()
    receipts.journalled("push", 0, [receipt])
    caller.close(is_finished=False)
    receipt.wait(1)
    assert "goes on at the next start" in str(receipt.error)
