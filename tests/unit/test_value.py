"""Values: equal by their fields and their class, whatever class shares its methods with them."""

from __future__ import annotations

from consecution.value import value


@value
class Left:
    root: int
    names: frozenset[str] = frozenset()


@value
class Right:
    root: int
    names: frozenset[str] = frozenset()


def test_values_are_equal_by_their_fields() -> None:
    assert Left(1) == Left(1, frozenset())
    assert Left(1) != Left(2)
    assert Left(1) != Left(1, frozenset({"a"}))
    assert len({Left(1), Left(1), Left(2)}) == 2


def test_values_of_two_classes_are_never_equal() -> None:
    assert Left(1) != Right(1)
    assert Left(1) != (1, frozenset())


def test_a_value_says_its_class_and_fields() -> None:
    assert repr(Left(1)) == "Left(root=1, names=frozenset())"


def test_a_value_has_no_room_for_anything_else() -> None:
    assert not hasattr(Left(1), "__dict__")
