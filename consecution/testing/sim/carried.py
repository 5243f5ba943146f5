"""What links carry, looked at from outside: once, in order, and only from those whom the receiver's placement lists.

Rules of this module: it compares what was sent with what was heard, message by message, and looks into no link.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from consecution.testing.sim.network import TransportWatch
from consecution.testing.sim.promises import Promise, Violation
from consecution.transport.links import Received
from consecution.wire.messages import FlushMark, encode, task_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.guarantee.messages import Incarnation
    from consecution.transport.base import TransportNews
    from consecution.transport.links import PlacementView
    from consecution.wire.messages import Message


class Carried(TransportWatch):
    """The watch of all links of a run.

    Args:
        tell: Called with each message that really goes out: (sender, receiver, message).
    """

    def __init__(self, tell: Callable[[Incarnation, Incarnation, Message], None]) -> None:
        self._tell = tell
        self._views: dict[Incarnation, PlacementView] = {}
        self._sent: dict[tuple[Incarnation, Incarnation, int | None], deque[Message]] = {}

    def placed(self, me: Incarnation, view: PlacementView) -> None:
        """See `TransportWatch.placed`."""
        before = self._views.get(me)
        if before is None or before.number < view.number:
            self._views[me] = view

    def sending(self, me: Incarnation, to: Incarnation, message: Message) -> None:
        """See `TransportWatch.sending`."""
        view = self._views.get(me)
        if view is None or to not in view.peers:
            return
        self._sent.setdefault((me, to, task_of(message)), deque()).append(message)
        self._tell(me, to, message)

    def heard(self, me: Incarnation, news: TransportNews) -> None:
        """See `TransportWatch.heard`."""
        if not isinstance(news, Received):
            return
        what = f"{me:x} got a {type(news.message).__name__} of {news.sender:x}"
        view = self._views.get(me)
        if view is None or news.sender not in view.peers:
            raise Violation(Promise.LISTED, f"{what}, whom its placement doesn't list")
        waiting = self._sent.get((news.sender, me, task_of(news.message)), deque())
        while waiting:
            sent = waiting.popleft()
            if sent == news.message or encode(sent) == encode(news.message):
                return
            if type(sent) is not FlushMark:  # a newer flush mark may take the place of an older one
                break
        raise Violation(Promise.ORDER, f"{what} out of order or twice")

    def forget(self, incarnation: Incarnation) -> None:
        """A process has ended: nothing more comes from it or to it."""
        self._views.pop(incarnation, None)
        for key in [key for key in self._sent if key[1] == incarnation]:
            del self._sent[key]
