"""What clients of a cluster push into the producers of this executor, and ask of their items.

Rules of this module: used from the executor's main thread, which journals too. A push is answered when all of its
items are in the journal; asked again under its request it is answered again, not pushed again. At most `KEPT_MAX`
requests are remembered: beyond that, and after a restart, the items' idempotency keys in the journal do it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from consecution.errors import CapacityError, CodecError, SourceError
from consecution.local.receipts import Receipt
from consecution.producers.pusher import Pusher
from consecution.wire.codec import unpack_items
from consecution.wire.control import ASKED_MAX, ItemFate, ItemsAre, PushedIn, PushIn
from consecution.wire.placement import Phase

if TYPE_CHECKING:
    from consecution.local.feed import Feed
    from consecution.process.peer import Peer
    from consecution.wire.control import AskItems

KEPT_MAX = 1_000
TAKES_NOTHING = {
    Phase.STARTING: "the topology is starting",
    Phase.PAUSED: "the topology is paused",
    Phase.DRAINING: "the topology drains, and takes no more items",
    Phase.ENDED: "the topology is over, and takes no more items",
}


@dataclasses.dataclass(slots=True)
class _Push:
    """A push in hand: pushed as far as there was room."""

    request: str
    receipts: list[Receipt]
    error: str = ""


class Handing:
    """Pushes from outside.

    Args:
        peer: With the producers.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._open: dict[str, _Push] = {}
        self._answered: dict[str, PushedIn] = {}
        self._answers: list[PushedIn | ItemsAre] = []

    def hear(self, message: PushIn | AskItems) -> None:
        """Begin to do what a client wants."""
        if isinstance(message, PushIn):
            self._push(message)
            return
        feed = self._feed(message.place)
        if feed is None:
            self._answers.append(ItemsAre(message.request, error="the executor is not ready; ask again"))
            return
        fates = [feed.fate(seq) for seq in message.seqs[:ASKED_MAX]]
        items = [ItemFate() if fate is None else ItemFate(fate.state, fate.attempts, fate.cause) for fate in fates]
        self._answers.append(ItemsAre(message.request, tuple(items)))

    def answers(self) -> list[PushedIn | ItemsAre]:
        """Give the answers that are due."""
        if not self._open and not self._answers:
            return []
        for push in [push for push in self._open.values() if all(one.seq >= 0 for one in push.receipts)]:
            del self._open[push.request]
            seqs = tuple(one.seq for one in push.receipts)
            producer = push.receipts[0].producer if push.receipts else ""
            # What was not pushed is asked for again: under their keys the first ones are not taken twice.
            answer = PushedIn(push.request, producer, seqs, push.error, is_final=False)
            if not push.error:
                self._answered[push.request] = answer
                if len(self._answered) > KEPT_MAX:
                    del self._answered[next(iter(self._answered))]
            self._answers.append(answer)
        answers, self._answers = self._answers, []
        return answers

    def _feed(self, place: int) -> Feed | None:
        intake = self._peer.intake
        return None if intake is None else next((feed for feed in intake.feeds if feed.place == place), None)

    def _push(self, message: PushIn) -> None:
        answered = self._answered.get(message.request)
        if answered is not None or message.request in self._open:
            self._answers += [answered] if answered is not None else []
            return
        feed = self._feed(message.place)
        phase = Phase.STARTING if self._peer.placement is None else self._peer.placement.phase
        if feed is None or phase in TAKES_NOTHING:
            self._refuse(message, TAKES_NOTHING.get(phase, "the executor is not ready"))
        elif not isinstance(feed.producer, Pusher):
            self._refuse(message, f"producer {feed.name!r} is no Pusher", is_final=True)
        else:
            self._push_into(feed.producer, message)

    def _push_into(self, pusher: Pusher, message: PushIn) -> None:
        try:
            items = unpack_items(message.items)
            pairs = list(zip(items, message.keys, strict=True))
        except (CodecError, ValueError) as error:
            self._refuse(message, f"the pushed items can't be read: {error}", is_final=True)
            return
        push = self._open[message.request] = _Push(message.request, [])
        for item, key in pairs:
            receipt = Receipt()
            try:
                pusher.push(item, key=key, token=receipt, timeout_s=0.0)
            except (CapacityError, SourceError) as error:
                push.error = str(error)
                return
            push.receipts.append(receipt)

    def _refuse(self, message: PushIn, error: str, *, is_final: bool = False) -> None:
        self._answers.append(PushedIn(message.request, error=error, is_final=is_final))
