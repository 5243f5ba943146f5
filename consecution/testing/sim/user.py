"""A client of the virtual cluster: the real one, for whom virtual time passes while it waits.

Rules of this module: it is somebody outside, whom no fault strikes and whose words take no time; between its questions
the world goes on only as far as it waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from consecution_coordinator.events import ClientAsked

from consecution.client import Client
from consecution.testing.sim.process import EPOCH_S
from consecution.transport.zeromq.control import Reply
from consecution.wire.cluster.from_client import FROM_CLIENT
from consecution.wire.cluster.parcel import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution_coordinator.events import Tell

    from consecution.testing.sim.cluster import SimCluster
    from consecution.wire.cluster.from_client import FromClient

    RunUntil = Callable[[Callable[[], bool], float], None]

USER = b"user"
PATIENCE_S = 60.0


class SimClient(Client):
    """A `Client` in virtual time. There is no bundle: the flow is submitted by the world itself.

    Args:
        cluster: Whose coordinator it asks.
        run_until: Lets the world go on until something is so, at most for so many virtual seconds.
    """

    def __init__(self, cluster: SimCluster, run_until: RunUntil) -> None:
        clock = UserClock(cluster, run_until)
        self._begin("sim", UserConnection(cluster, clock), clock, PATIENCE_S)


class UserClock:
    """Virtual time, as somebody outside sees it: to sleep lets the world go on.

    Args:
        cluster: Whose time it is.
        run_until: As of `SimClient`.
    """

    def __init__(self, cluster: SimCluster, run_until: RunUntil) -> None:
        self._timeline = cluster.world.timeline
        self._run_until = run_until

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._timeline.now

    def time(self) -> float:
        """See `Clock.time`."""
        return EPOCH_S + self._timeline.now

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        self.wait(lambda: False, seconds)

    def wait(self, is_met: Callable[[], bool], at_most_s: float) -> None:
        """Let the world go on until something is so, or for so long."""
        end = self._timeline.now + max(0.0, at_most_s)
        self._timeline.at(end, lambda: None)  # so that it doesn't go on for longer
        self._run_until(lambda: is_met() or self._timeline.now >= end, at_most_s + 1.0)


class UserConnection:
    """A client's connection to the virtual coordinator.

    Args:
        cluster: Whose coordinator it is.
        clock: The client's.
    """

    def __init__(self, cluster: SimCluster, clock: UserClock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._replies: list[Reply] = []
        cluster.users[USER] = self._told

    def _told(self, told: Tell) -> None:
        self._replies.append(Reply(pack(told.message, told.request)))

    def send(self, payload: bytes) -> bool:
        """See `Connection.send`."""
        if self._cluster.coordinator.state is None:
            return False
        request, message = cast("tuple[str, FromClient]", unpack(payload, FROM_CLIENT))
        self._cluster.coordinator.tell(ClientAsked(USER, request, message))
        return True

    def poll(self, timeout_s: float) -> Sequence[Reply]:
        """See `Connection.poll`."""
        if not self._replies:
            self._clock.wait(lambda: bool(self._replies), timeout_s)
        replies, self._replies = self._replies, []
        return replies

    def close(self) -> None:
        """See `Connection.close`."""
        self._cluster.users.pop(USER, None)
