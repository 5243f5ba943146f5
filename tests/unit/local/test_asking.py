"""What a producer's own code raises is told with its name and the method's; the rest passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from consecution.errors import SourceError, UserCodeError
from consecution.local.asking import Asking
from consecution.producers import Producer, Read


class Odd(Producer):
    """Each of its methods does as it was told, or nothing."""

    def __init__(self, **does: object) -> None:
        self.does = does

    def _do(self, method):
        found = self.does.get(method)
        if isinstance(found, BaseException):
            raise found
        return found

    def open(self, position=None, check=None):
        self._do("open")

    def read(self, items_max, wait_s):
        return self._do("read") or Read([1])

    def acknowledge(self, first_seq, count):
        self._do("acknowledge")

    def fileno(self):
        return self._do("fileno")

    def ready_in(self):
        return self._do("ready_in")

    def check(self, position, item_below=None):
        return self._do("check")

    def close(self):
        self._do("close")


def asking(**does):
    return Asking(Odd(**does), "odd")


@pytest.mark.parametrize(("method", "arguments"), [("open", (None, None)), ("read", (1, 0.0))])
def test_what_opening_and_reading_raise_is_raised_with_their_names(method, arguments):
    with pytest.raises(UserCodeError, match=rf"producer 'odd': its {method}\(\) raised OSError: away") as caught:
        getattr(asking(**{method: OSError("away")}), method)(*arguments)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.node == "odd"
    with pytest.raises(SourceError, match="gone"):
        getattr(asking(**{method: SourceError("gone")}), method)(*arguments)


@pytest.mark.parametrize(
    ("method", "arguments"), [("acknowledge", (0, 1)), ("check", (1, None)), ("fileno", ()), ("ready_in", ())]
)
def test_what_the_others_raise_is_kept_the_first_of_it(method, arguments):
    one = asking(**{method: SystemExit("away")})
    assert getattr(one, method)(*arguments) is None
    first = one.error
    assert isinstance(first, UserCodeError)
    assert str(first).startswith(f"producer 'odd': its {method}() raised SystemExit: away; what has entered is")
    getattr(one, method)(*arguments)
    assert one.error is first
    one = asking(**{method: SourceError("gone")})
    getattr(one, method)(*arguments)
    assert str(one.error) == "gone"


def test_a_closed_descriptor_is_none():
    with Path("/dev/null").open() as file:
        number = file.fileno()
    for bad in (-1, number, 10**30, "3"):
        one = asking(fileno=bad)
        assert one.fileno() is None
        assert f"its fileno() gave {bad!r}; expected an open descriptor, or None" in str(one.error)
    assert asking(fileno=0).fileno() == 0
    assert asking().fileno() is None


def test_what_closing_raises_is_given():
    assert asking().close() is None
    cause = asking(close=OSError("away")).close()
    assert cause is not None
    assert (cause.node, cause.exception, cause.message) == ("odd", "OSError", "away")


def test_ctrl_c_passes():
    with pytest.raises(KeyboardInterrupt):
        asking(acknowledge=KeyboardInterrupt()).acknowledge(0, 1)
