"""Which functions stand in a compiled row as expressions, and that nobody can tell but by the clock."""

from __future__ import annotations

import sys

import pytest

from consecution import Collect, Consecutor, Filter, Map, Robustness
from consecution.executor.frames import Frame
from consecution.executor.inlining import _is_watched, inlined
from consecution.executor.runner import StageRunner
from consecution.guarantee.ids import id_maker
from consecution.plan.stages import plan_of

OUTSIDE = 3


def doubled(n):
    """Twice."""
    return n * 2


def with_steps(n):
    m = n * 2
    return m


def test_one_expression_of_the_argument_is_inlined():
    found = inlined(lambda row: row["v"] * 3 + 1)
    assert found is not None
    assert (found.text, found.is_plain) == ("x['v'] * 3 + 1", False)


def test_a_def_with_a_docstring_is_inlined_too():
    found = inlined(doubled)
    assert found is not None
    assert found.text == "x * 2"


def test_a_display_is_known_to_be_plain():
    found = inlined(lambda n: {"k": n % 1000, "v": n})
    assert found is not None
    assert found.is_plain


def test_two_functions_in_one_line_are_told_apart():
    first, second = (lambda n: n + 1), (lambda n: n + 1.0)
    assert [getattr(inlined(one), "text", None) for one in (first, second)] == ["x + 1", "x + 1.0"]


@pytest.mark.parametrize(
    "function",
    [
        lambda n: n + OUTSIDE,
        lambda n: str(n),
        lambda n: n.strip(),
        lambda n: (each for each in n),
        lambda n: [each + n for each in n],
        lambda n: (yield n),
        lambda n, more=1: n + more,
        lambda *n: n,
        with_steps,
        str.split,
        len,
    ],
)
def test_what_calls_or_knows_other_names_is_called(function):
    assert inlined(function) is None


def test_a_function_that_was_changed_after_it_was_read_is_called():
    function = eval(compile("lambda n: n + 1", __file__, "eval"))  # no such line in this file
    assert inlined(function) is None


def test_nothing_is_inlined_while_a_debugger_looks():
    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: None)
    try:
        found = inlined(lambda n: n + 1)
    finally:
        sys.settrace(before)
    assert found is None


def test_a_failure_is_told_in_the_lines_of_the_function():
    flow = [1, "one", 3] | Map(lambda n: n * 3 + 1, name="affine") | Collect("out")
    report = Consecutor(flow, robustness=Robustness.TRACK, journal=None).run()
    assert report.collected["out"] == [4, 10]
    [failure] = report.failures
    assert (failure.seq, failure.item) == (1, "one")
    assert failure.cause is not None
    assert (failure.cause.node, failure.cause.exception, failure.cause.value) == ("affine", "TypeError", "'one'")
    assert "n * 3 + 1" in failure.cause.traceback
    assert "<stage" not in failure.cause.traceback


def test_a_row_gives_what_calling_its_functions_gives():
    steps = [lambda n: n * 3 + 1, lambda n: n % 2 == 0, lambda n: {"k": n % 7, "v": -n if n > 50 else n}]
    expected = [steps[2](m) for m in map(steps[0], range(300)) if steps[1](m)]
    flow = range(300) | Map(steps[0]) | Filter(steps[1]) | Map(steps[2]) | Collect("out")
    assert Consecutor(flow, journal=None).run().collected["out"] == expected


def plus_one(x):
    return {"v": x["v"] + 1}


def made_of_bytes(x):
    return {"v": bytearray(x["v"])}


@pytest.mark.skipif(_is_watched(), reason="functions aren't inlined while a tool watches")
@pytest.mark.parametrize(("function", "is_known"), [(plus_one, True), (made_of_bytes, False)])
def test_only_expressions_pass_on_that_no_buffer_is_in_a_frame(function, is_known):
    dag = Consecutor([1] | Map(function) | Map(plus_one, grouping="shuffle") | Collect("out"), "flow", journal=None).dag
    runner = StageRunner(dag, plan_of(dag, [dag.entries]), 0, new_id=id_maker(bytes(32)), now=lambda: 0.0)
    for known in (True, False):
        frame = Frame(0, [{"v": 1}, {"v": 2}], (1,), (2,), (3,), is_buffer_free=known)
        [made] = runner.run(frame).frames
        assert len(made.items) == 2
        assert made.is_buffer_free is (known and is_known)
    runner.teardown()
