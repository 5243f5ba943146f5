"""What of user code is a failure of the item in work, and what goes on through it."""

from __future__ import annotations

import asyncio

import pytest

from consecution.errors import Unwinding, short_repr, user_errors


class PanicError(BaseException):
    """As an extension written in Rust raises."""


def is_failure(error: BaseException) -> bool:
    try:
        try:
            raise error
        except user_errors():
            return True
    except type(error):
        return False


@pytest.mark.parametrize("error", [ValueError(), SystemExit(1), asyncio.CancelledError(), PanicError()])
def test_whatever_user_code_raises_is_its_failure(error) -> None:
    assert is_failure(error)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), Unwinding()])
def test_what_ends_more_than_an_item_passes(error) -> None:
    assert not is_failure(error)


def test_another_failure_that_is_being_handled_does_not_count() -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert is_failure(ValueError())
    try:
        raise ValueError
    except ValueError:
        assert not is_failure(KeyboardInterrupt())


def test_a_repr_that_panics_is_named() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise PanicError

    assert short_repr(Broken()) == "<Broken whose repr raised PanicError>"
