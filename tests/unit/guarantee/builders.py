"""Cores that check their invariants after every event, and short ways to make what they are told."""

from __future__ import annotations

import copy
from typing import Any

from consecution.guarantee.backoff import Backoff
from consecution.guarantee.ids import id_maker
from consecution.guarantee.ledger import Ledger, LedgerEvent, LedgerInstruction
from consecution.guarantee.levels import Robustness
from consecution.guarantee.messages import Cause, Fail, Verdict
from consecution.guarantee.window import Batch, Window

BOOM = Cause(node="parse", exception="ValueError", message="boom")
CRASH = Cause(node="parse", exception="Crash", message="killed by SIGSEGV")
PRODUCER = 1


class CheckedLedger(Ledger):
    """A ledger whose invariants are checked after every event."""

    def handle(self, event: LedgerEvent, now: float) -> list[LedgerInstruction]:
        instructions = super().handle(event, now)
        self.check_invariants()
        return instructions


class DeepSnapshot:
    """Values as they were, by deep copies."""

    is_buffer_free = False

    def __init__(self, items: list[Any]) -> None:
        self._items = copy.deepcopy(items)
        self.size = 100 * len(items)

    def restore(self) -> list[Any]:
        return copy.deepcopy(self._items)

    def one(self, index: int) -> Any:
        return copy.deepcopy(self._items[index])


class CheckedWindow(Window):
    """A window whose invariants are checked after every call that changes it."""

    def introduce(self, items: list[Any], now: float) -> Batch:
        batch = super().introduce(items, now)
        self.check_invariants()
        return batch

    def settle(self, verdict: Verdict, now: float) -> None:
        super().settle(verdict, now)
        self.check_invariants()

    def replays(self, now: float) -> list[Batch]:
        batches = super().replays(now)
        self.check_invariants()
        return batches


def make_window(**changes: Any) -> CheckedWindow:
    options: dict[str, Any] = {
        "producer": PRODUCER,
        "level": Robustness.REPLAY,
        "replays_max": 3,
        "pending_max": 1_000,
        "new_root": id_maker(b"window"),
        "snapshot": DeepSnapshot,
        "exposed": lambda node: frozenset(),
        "backoff": Backoff(first_s=1.0, factor=2.0, max_s=8.0),
    }
    return CheckedWindow(**(options | changes))


def done(batch: Batch, **more: Any) -> Verdict:
    return Verdict(batch.root, PRODUCER, **more)


def failed(batch: Batch, *indexes: int, cause: Cause | None = BOOM, **more: Any) -> Verdict:
    return Verdict(batch.root, PRODUCER, (Fail(batch.root, indexes, cause),), **more)


def lost(batch: Batch, *suspects: int, charged: bool = False, **more: Any) -> Verdict:
    return Verdict(
        batch.root,
        PRODUCER,
        lost=True,
        suspects=suspects,
        crash=CRASH if suspects else None,
        charged=charged,
        **more,
    )
