"""What a run asks of a producer, which may be code of a user's own.

Rules of this module: whatever that code raises is told with the producer's name and the method's. Where something has
entered already nothing is raised: it goes on, and `Asking.error` ends the reading.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from consecution.errors import ConsecutionError, UserCodeError, user_errors
from consecution.executor.causes import cause_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.guarantee.messages import Cause
    from consecution.producers.base import Producer, Read

_ENDS = "what has entered is finished, nothing more is read"


class Asking:
    """Calls the methods of one producer.

    Args:
        producer: Whose.
        name: In messages.

    Attributes:
        error: What the first call raised of those that can't fail what they are told of; None while none has.
    """

    def __init__(self, producer: Producer, name: str) -> None:
        self._producer = producer
        self._name = name
        self.error: ConsecutionError | None = None

    def open(self, position: object, check: object) -> None:
        """Open it.

        Raises:
            UserCodeError: Its code raised.
            ConsecutionError: Whatever of these it raises.
        """
        try:
            self._producer.open(position, check)
        except ConsecutionError:
            raise
        except user_errors() as error:
            told = self._told("open", error, "nothing was read")
            raise told from error

    def read(self, items_max: int, wait_s: float) -> Read:
        """Read; errors as of `open`."""
        try:
            return self._producer.read(items_max, wait_s)
        except ConsecutionError:
            raise
        except user_errors() as error:
            told = self._told("read", error, "what was read before goes on")
            raise told from error

    def acknowledge(self, first_seq: int, count: int) -> None:
        """Tell it what is journalled."""
        self._tell("acknowledge", self._producer.acknowledge, first_seq, count)

    def fail(self, count: int, error: Exception) -> None:
        """Tell it what wasn't taken."""
        self._tell("fail", self._producer.fail, count, error)

    def admit(self, is_open: bool) -> None:
        """Tell it whether items are taken now."""
        self._tell("admit", self._producer.admit, is_open)

    def check(self, position: object, item_below: object) -> Any:
        """Ask how a position is found again; None when its code raised."""
        return self._tell("check", self._producer.check, position, item_below)

    def ready_in(self) -> float | None:
        """Ask in how many seconds it has something; None when its code raised."""
        seconds: float | None = self._tell("ready_in", self._producer.ready_in)
        return seconds

    def fileno(self) -> int | None:
        """Ask which descriptor is readable when it has something; None when its code raised, or gave a closed one."""
        file: int | None = self._tell("fileno", self._producer.fileno)
        if file is None or _is_open(file):
            return file
        if self.error is None:
            self.error = UserCodeError(
                f"producer {self._name!r}: its fileno() gave {file!r}; expected an open descriptor, or None; {_ENDS}",
                node=self._name,
            )
        return None

    def close(self) -> Cause | None:
        """Close it; gives why that failed."""
        try:
            self._producer.close()
        except user_errors() as error:
            return cause_of(self._name, error, None)
        return None

    def _tell(self, method: str, call: Callable[..., Any], *arguments: object) -> Any:
        try:
            return call(*arguments)
        except user_errors() as raised:
            if self.error is None:
                if isinstance(raised, ConsecutionError):
                    self.error = raised
                else:
                    self.error = self._told(method, raised, _ENDS)
                    self.error.__cause__ = raised
        return None

    def _told(self, method: str, error: BaseException, then: str) -> UserCodeError:
        message = f"producer {self._name!r}: its {method}() raised {type(error).__name__}: {error}; {then}"
        return UserCodeError(message, node=self._name)


def _is_open(file: int) -> bool:
    """Whether this is an open descriptor: to wait for a closed one is to wait for nothing, again and again."""
    try:
        os.fstat(file)
    except (OSError, TypeError, OverflowError):
        return False
    return True
