"""The session with the coordinator: when to register, when to tell how it stands, and whether it is silent.

Rules of this module: pure. A session is this start of the worker; a coordinator that was restarted, or that missed this
worker, lets it register again under the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution_worker.events import AgentInstruction, Listen, Note, Redial

if TYPE_CHECKING:
    from consecution.wire.cluster.parcel import Refused
    from consecution.wire.cluster.to_worker import Registered
    from consecution_worker.config import Limits

URGENT_S = 0.02
IMPATIENT_S = 0.1
REDIAL_MAX_S = 8.0


class Session:
    """The session of an agent.

    Args:
        who: The worker, for notes.
        limits: Of the agent.
        now: Monotonic seconds.

    Attributes:
        is_registered: The coordinator has let it in, and hasn't forgotten it since.
        is_silent: Nothing was heard of the coordinator for a while.
        next_at: When the next heartbeat, or the next try to register, is due.
    """

    def __init__(self, who: str, limits: Limits, now: float) -> None:
        self._who = who
        self._limits = limits
        self._interval_s = limits.heartbeat_interval_s
        self._heard_at = now
        self._redial_at = now + limits.redial_s
        self._news_port: int | None = None
        self._refusal = ""
        self._was_registered = False
        self.is_registered = False
        self.is_silent = False
        self.next_at = now

    def heard(self, now: float) -> None:
        """The coordinator said something."""
        self._heard_at = now
        self._redial_at = now + self._limits.redial_s

    def slept(self, gap_s: float) -> None:
        """The agent itself didn't run for so long."""
        self._heard_at += gap_s
        self._redial_at += gap_s

    def registered(self, message: Registered, now: float) -> list[AgentInstruction]:
        """It is in."""
        found: list[AgentInstruction] = [] if self.is_registered else [Note(f"registered as {self._who}")]
        if not self._was_registered:
            self.is_silent = False  # it wasn't there before, so it isn't back
        self.is_registered = self._was_registered = True
        self._refusal = ""
        self._interval_s = message.heartbeat_s
        self.next_at = now
        if message.news_port != self._news_port:
            self._news_port = message.news_port
            found.append(Listen(message.news_port))
        return found

    def register_again(self, now: float) -> list[AgentInstruction]:
        """The coordinator doesn't know it."""
        if not self.is_registered:
            return []  # asked for already
        self.is_registered = False
        self.next_at = now
        return [Note("the coordinator doesn't know this worker (it was restarted, or missed it); registering again")]

    def refused(self, refused: Refused) -> list[AgentInstruction]:
        """The coordinator said no, for now; each reason is noted once."""
        if refused.reason == self._refusal:
            return []
        self._refusal = refused.reason
        return [Note(f"the coordinator refused: {refused.reason}", is_warning=True)]

    def urgent(self, now: float) -> None:
        """Let the next heartbeat go soon; what happens at the same time goes with it."""
        if self.is_registered:
            self.next_at = min(self.next_at, now + URGENT_S)

    def not_sent(self, now: float) -> None:
        """There was no connection: soon there may be one."""
        if now - self._heard_at <= self._limits.silence_s:
            self.next_at = min(self.next_at, now + IMPATIENT_S)

    def is_due(self, now: float) -> bool:
        """Whether a heartbeat, or a try to register, goes now; then the next one is due later."""
        if now < self.next_at:
            return False
        interval_s = self._interval_s if self.is_registered else self._limits.register_interval_s
        if self.is_registered and self._limits.redial_s <= now - self._heard_at <= self._limits.silence_s:
            interval_s = min(IMPATIENT_S, interval_s)  # the first one that gets through saves this worker's work
        self.next_at = now + interval_s
        return True

    def redial(self, now: float) -> list[AgentInstruction]:
        """Make the connection anew when nothing has come by it for a while; soon at first, then ever later."""
        if now < self._redial_at:
            return []
        silent_s = now - self._heard_at
        is_long = silent_s > self._limits.silence_s
        self._redial_at = now + (min(silent_s, REDIAL_MAX_S) if is_long else self._limits.redial_s / 2)
        return [Redial()]

    def look_at_silence(self, now: float) -> list[AgentInstruction]:
        """Say when the coordinator falls silent, and when it is back."""
        is_silent = now - self._heard_at > self._limits.silence_s
        if is_silent == self.is_silent:
            return []
        self.is_silent = is_silent
        if is_silent and not self._was_registered:
            return [Note("no coordinator answers yet; this worker waits for it, and looks again all the time")]
        if is_silent:
            text = f"the coordinator says nothing for {self._limits.silence_s:g} s; what runs here goes on"
            return [Note(text, is_warning=True)]
        return [Note("the coordinator is back")]
