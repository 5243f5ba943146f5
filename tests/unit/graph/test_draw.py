"""Pictures: what they show, and that no text escapes into syntax."""

from __future__ import annotations

import textwrap
import xml.etree.ElementTree as ET

import pytest

from consecution.graph import Collect, Dag, Map, Node, merge, route
from consecution.graph.draw import dot, mermaid, svg, text
from consecution.graph.draw.layout import layout_of
from consecution.graph.draw.picture import picture_of


class Step(Node):
    def process(self, item):
        self.push(item)


def steps(names):
    return [Step(name) for name in names]


def by_country(item):
    return item


def drawn(thing):
    return "\n" + "\n".join(line.rstrip() for line in text(Dag.of(thing, "flow")).splitlines()) + "\n"


def picture(block):
    return textwrap.dedent(block)


def test_a_chain():
    assert drawn(range(3) | Step("load") | Step("write", parallelism=4, key="country")) == picture(
        """
        ▶ Rows
        │
        ● load   Step
        │
        ● write  Step  \N{MULTIPLICATION SIGN}4  by country
        """
    )


def test_a_diamond():
    a, b, c, d = steps("abcd")
    assert drawn(a | [b, c] | d) == picture(
        """
        ●   a  Step
        ├─╮
        ● │ b  Step
        │ ● c  Step
        ├─╯
        ●   d  Step
        """
    )


def test_a_route_names_its_answers():
    a, b, c, d = steps("abcd")
    assert drawn(route(by_country, {"de": a, "us": b, "fr": c}) | d | Collect("out")) == picture(
        """
        ◆     by_country  Route    de → a  us → b  fr → c
        ├─┬─╮
        ● │ │ a           Step
        │ ● │ b           Step
        │ │ ● c           Step
        ├─┴─╯
        ●     d           Step
        │
        ●     out         Collect
        """
    )


def test_two_producers():
    p, q, join = steps(["p", "q", "join"])
    assert drawn(merge([1] | p, [2] | q) | join) == picture(
        """
        ▶   Rows
        │
        ●   p     Step
        │ ▶ Rows
        │ │
        │ ● q     Step
        ├─╯
        ●   join  Step
        """
    )


def test_a_lane_that_is_only_crossed_stays_apart():
    a, x, y, end = steps(["a", "x", "y", "end"])
    shown = drawn(a | [x, y, Step("m") | x] | end)
    assert "├─│─╯" in shown


def test_declared_outputs_and_linked_ones_are_shown():
    parse, log = steps(["parse", "log"])
    parse.add_output("bad")
    parse.add_async_output("trace")
    linked = parse.output["bad"] | log
    assert linked
    shown = drawn(parse)
    assert "⇥ bad  ⇥ trace (async)  bad → log" in shown


def test_a_picture_of_5000_nodes():
    view = Step()
    for _ in range(4999):
        view = view | Step()
    assert len(text(Dag.of(view, "flow")).splitlines()) == 9999


def test_a_spec_is_drawn_as_its_dag():
    dag = Dag.of([1] | Step("a") | [Step("b"), Step("c")], "flow")
    for draw in (text, mermaid, dot, svg):
        assert draw(dag) == draw(dag.spec())
    assert dag.text() == str(dag) == text(dag)


HOSTILE = "a\"<b>&'\\]}|-->`#;"


def test_names_cannot_break_out():
    dag = Dag.of(Step(HOSTILE) | route(by_country, {HOSTILE: Step("x"), "</text>": Step("y")}), "flow")
    root = ET.fromstring(svg(dag))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert HOSTILE in texts
    assert "</text>" in texts
    source = mermaid(dag)
    assert HOSTILE not in source
    assert all(line.count('"') in (0, 2) for line in source.splitlines())
    assert 'label="a\\"<b>&\'\\\\]}|-->`#;\\nStep"' in dot(dag)


def test_a_spec_from_elsewhere_cannot_steer_the_terminal():
    spec = Dag.of(Step("a"), "flow").spec()
    spec["nodes"][0]["name"] = "a\x1b[2J\x00\ud800"
    for draw in (text, mermaid, dot, svg):
        shown = draw(spec)
        assert "\x1b" not in shown
        assert "\x00" not in shown
        shown.encode()
    ET.fromstring(svg(spec))


def skipping():
    """Edges over one layer and over two: a to d, b to d."""
    a, b, c, d = steps("abcd")
    return a | [b | [c | d, d], d]


@pytest.mark.parametrize(
    "make",
    [lambda: Step("a") | [Step("b"), Step("c")] | Step("d"), lambda: Map(str), skipping],
    ids=["diamond", "one", "skipping"],
)
def test_boxes_and_the_lanes_of_long_arrows_do_not_overlap(make):
    picture = picture_of(Dag.of(make(), "flow"))
    layout = layout_of([60.0] * len(picture.shapes), picture.arrows)
    assert len(layout.boxes) == len(picture.shapes)
    every = [*layout.boxes, *(lane for lanes in layout.lanes for lane in lanes)]
    for index, one in enumerate(every):
        for other in every[:index]:
            apart_x = one.x >= other.x + other.width or other.x >= one.x + one.width
            apart_y = one.y >= other.y + other.height or other.y >= one.y + one.height
            assert apart_x or apart_y


def test_a_consecutor_draws_itself_in_a_notebook():
    from consecution import Consecutor, Map

    drawn = Consecutor([1] | Map(str), "drawn", journal=None)._repr_svg_()
    assert drawn.startswith("<svg")
    assert "str" in drawn
