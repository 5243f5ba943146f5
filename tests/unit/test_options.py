from __future__ import annotations

import pytest

from consecution.errors import GraphError
from consecution.options import OptionMissing, Options, fill_options, options, parse_options


@pytest.fixture(autouse=True)
def _empty_options():
    yield
    fill_options({})


def test_an_option_is_read_like_a_key_of_a_dict():
    fill_options({"out": "results"})
    assert options["out"] == "results"
    assert dict(options) == {"out": "results"}
    assert options.get("unit", "km") == "km"


def test_a_missing_option_says_how_to_give_it():
    fill_options({"in": "a"})
    with pytest.raises(OptionMissing) as caught:
        options["out"]
    assert str(caught.value) == "the flow needs option 'out': give -D out=… (given: in)"
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, GraphError)


def test_options_can_not_be_changed_by_a_flow():
    with pytest.raises(TypeError):
        options["out"] = "x"  # type: ignore[index]
    given = {"out": "results"}
    mine = Options(given)
    given["out"] = "changed"
    assert mine["out"] == "results"


def test_filling_replaces_what_an_earlier_run_had():
    fill_options({"a": "1"})
    fill_options({"b": "2"})
    assert dict(options) == {"b": "2"}


@pytest.mark.parametrize("word", ["out", "=x", ""])
def test_a_word_that_is_no_pair_is_refused(word):
    with pytest.raises(ValueError, match="expected key=value"):
        parse_options([word])


def test_the_last_value_of_a_key_wins_and_may_be_empty_or_hold_an_equals_sign():
    assert parse_options(["a=1", "b=", "a=x=y"]) == {"a": "x=y", "b": ""}
