"""Flows are found and loaded by address. `Thing` stands for the Consecutor, which the loader is told, not knows."""

from __future__ import annotations

import sys
import threading
import types
from pathlib import Path

import pytest

from consecution import flow
from consecution.errors import GraphError
from consecution.flow import FlowAddress, FlowLoaded, find_address, is_loading, load, load_module, parse_address

HEAD = "from consecution.flow import stop_if_loading\nfrom thing_for_flows import Thing\n"


class Thing:
    def __init__(self, *friends: Thing) -> None:
        self.group = {self}
        for friend in friends:
            self.group |= friend.group
        for member in self.group:
            member.group = self.group

    def run(self) -> str:
        flow.stop_if_loading(self)
        return "ran"


def group_of(thing: Thing) -> frozenset[Thing]:
    return frozenset(thing.group)


def load_thing(address: FlowAddress, **keywords: bool) -> Thing:
    return load(address, Thing, group_of, **keywords)


@pytest.fixture(autouse=True)
def _clean_imports(monkeypatch):
    modules, files = dict(sys.modules), dict(flow._files)
    monkeypatch.setattr(sys, "path", [*sys.path])
    helper = types.ModuleType("thing_for_flows")
    helper.Thing = Thing  # type: ignore[attr-defined]
    sys.modules["thing_for_flows"] = helper
    yield
    flow._files.clear()
    flow._files.update(files)
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str) -> FlowAddress:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + text)
        return parse_address(str(path))

    return write


# Addresses


def test_a_relative_file_is_found_below_the_folder(tmp_path):
    (tmp_path / "flow_a.py").write_text("")
    assert parse_address("flow_a.py", tmp_path) == FlowAddress(str(tmp_path / "flow_a.py"))
    assert parse_address("flow_a.py:build", tmp_path).object == "build"
    assert parse_address("flow_a.py", tmp_path).stem == "flow_a"


def test_a_module_is_kept_as_its_name():
    assert parse_address("shop.flows:build") == FlowAddress("shop.flows", "build")
    assert parse_address("shop.flows").stem == "flows"
    assert str(parse_address("shop.flows:build")) == "shop.flows:build"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not the address of a flow"),
        ("a.b:", "is not the address of a flow"),
        ("a.b:1x", "is not the address of a flow"),
        (":build", "is not the address of a flow"),
        ("nothing_here.py", "no flow file 'nothing_here.py'"),
        ("a b", "neither a file that ends in .py nor"),
        ("flow-x", "neither a file that ends in .py nor"),
    ],
)
def test_what_is_no_address_is_refused_with_the_way_to_write_it(text, expected):
    with pytest.raises(GraphError, match=expected):
        parse_address(text)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "flow.txt").write_text("")
    with pytest.raises(GraphError, match=r"doesn't end in \.py"):
        parse_address(f"{tmp_path}/flow.txt")


# Loading


def test_a_flow_is_imported_under_its_own_name_and_once(write):
    address = write("flow_b.py", "one = Thing()\nclass Own: pass\n")
    thing = load_thing(address)
    assert sys.modules["flow_b"].one is thing
    assert sys.modules["flow_b"].Own.__module__ == "flow_b"
    assert load_thing(address) is thing


def test_a_file_in_a_package_is_imported_as_part_of_it(write, tmp_path):
    (tmp_path / "shop_p").mkdir()
    (tmp_path / "shop_p" / "__init__.py").write_text("")
    (tmp_path / "shop_p" / "part.py").write_text("x = 1")
    address = write("shop_p/flows.py", "from .part import x\none = Thing()\n")
    assert load_module(address).__name__ == "shop_p.flows"
    assert sys.modules["shop_p"].flows is sys.modules["shop_p.flows"]


def test_a_flow_imports_its_neighbours(write, tmp_path):
    (tmp_path / "neighbour_n.py").write_text("x = 1")
    load_thing(write("flow_n.py", "import neighbour_n\none = Thing()\n"))


def test_a_module_address_is_found_in_the_current_directory(write, tmp_path, monkeypatch):
    write("flow_m.py", "one = Thing()\ntwo = Thing()\n")
    monkeypatch.chdir(tmp_path)
    thing = load_thing(parse_address("flow_m:two"))
    assert thing is sys.modules["flow_m"].two


def test_run_ends_the_import_and_what_stands_above_is_loaded(write):
    address = write("flow_r.py", "one = Thing()\none.run()\nraise SystemExit('below run')\n")
    thing = load_thing(address)
    assert not is_loading()
    assert thing.run() == "ran"


def test_except_exception_in_a_flow_does_not_swallow_the_end_of_its_import(write):
    text = "one = Thing()\ntry:\n    one.run()\nexcept Exception:\n    pass\nraise SystemExit('swallowed')\n"
    assert isinstance(load_thing(write("flow_e.py", text)), Thing)


def test_a_main_guard_is_not_entered_but_main_becomes_an_alias_for_executors(write):
    address = write("flow_g.py", "one = Thing()\nif __name__ == '__main__':\n    raise SystemExit\n")
    load_thing(address, as_main=True)
    assert sys.modules["__main__"] is sys.modules["flow_g"]


def test_a_thread_that_a_flow_starts_while_loading_may_not_run_either(write):
    text = (
        "import threading\none = Thing()\nseen = []\n"
        "def run():\n    try:\n        one.run()\n    except BaseException as error:\n        seen.append(error)\n"
        "t = threading.Thread(target=run)\nt.start()\nt.join()\n"
    )
    load_thing(write("flow_t.py", text))
    assert isinstance(sys.modules["flow_t"].seen[0], FlowLoaded)
    assert threading.active_count() >= 1


def test_a_function_that_returns_one_is_called(write):
    address = write("flow_f.py", "def build():\n    return Thing()\n")
    assert isinstance(load_thing(FlowAddress(address.place, "build")), Thing)


def test_a_connected_group_is_one_flow_and_several_groups_need_a_name(write):
    one = load_thing(write("flow_c.py", "one = Thing()\ntwo = Thing(one)\n"))
    assert one is sys.modules["flow_c"].one
    address = write("flow_d.py", "one = Thing()\ntwo = Thing()\n")
    with pytest.raises(GraphError, match=r"several Things that aren't connected \(one, two\).*flow_d.py:two"):
        load_thing(address)
    assert load_thing(FlowAddress(address.place, "two")) is sys.modules["flow_d"].two


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("x = 1", None, "no global of it is a Thing"),
        ("one = Thing()", "two", "has no global 'two'"),
        ("one = Thing()\none.run()\ntwo = 2", "two", "what stands below run"),
        ("one = 3", "one", "is or returned 3"),
        ("def build():\n    return None", "build", "is or returned None"),
        ("def build(x):\n    return Thing()", "build", "can't be called without arguments .*'x'.*takes none"),
    ],
)
def test_a_flow_without_the_object_says_what_is_missing(write, text, name, expected):
    address = write("flow_x.py", text)
    with pytest.raises(GraphError, match=expected):
        load_thing(FlowAddress(address.place, name))


def test_what_a_file_runs_is_its_flow_though_it_has_no_name(write):
    """As in the README: ``report = Consecutor(...).run()``."""
    thing = load_thing(write("flow_n.py", "report = Thing().run()\nprint(report.missing)\n"))
    assert isinstance(thing, Thing)
    address = write("flow_m.py", "named = Thing()\nThing().run()\n")
    assert load_thing(address) is sys.modules["flow_m"].named


def test_a_function_that_runs_instead_of_returning_ends_outside_of_loading(write):
    """The function is called after the import; a caller that loads must not have it run for real."""
    address = write("flow_h.py", "ran = []\ndef build():\n    ran.append(Thing().run())\n")
    with pytest.raises(GraphError, match="runs its Thing itself"):
        load_thing(FlowAddress(address.place, "build"))
    assert sys.modules["flow_h"].ran == []


def test_an_error_of_the_flow_is_its_own_and_leaves_nothing_half_imported(write):
    address = write("flow_z.py", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        load_thing(address)
    assert "flow_z" not in sys.modules
    assert not is_loading()


def test_a_missing_module_of_the_user_is_not_taken_for_the_flow(write):
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        load_thing(write("flow_i.py", "import not_there_at_all"))
    with pytest.raises(GraphError, match=r"no module 'shop_nowhere\.flows'"):
        load_thing(FlowAddress("shop_nowhere.flows"))


@pytest.mark.parametrize("name", ["statistics.py", "pytest.py"])
def test_a_file_named_like_another_module_is_refused(write, name):
    with pytest.raises(GraphError, match="rename the file"):
        load_thing(write(name, "one = Thing()"))


# Finding


def test_an_object_of_a_loaded_file_is_found_by_identity(write):
    address = write("flow_o.py", "_hidden = one = Thing()\n")
    assert find_address(load_thing(address)) == FlowAddress(address.place, "one")


def test_the_first_of_several_names_is_taken_for_the_others_may_not_be_there_elsewhere(write):
    address = write("flow_q.py", "one = Thing()\nfor each in (one,):\n    pass\n")
    assert find_address(load_thing(FlowAddress(address.place, "one"))) == FlowAddress(address.place, "one")


def test_an_imported_module_is_preferred_to_main(monkeypatch):
    thing = Thing()
    monkeypatch.setattr(sys.modules["__main__"], "mine", thing, raising=False)
    module = types.ModuleType("flow_of_a_module")
    module.mine = thing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flow_of_a_module", module)
    assert find_address(thing) == FlowAddress("flow_of_a_module", "mine")


def test_the_second_name_that_multiprocessing_gives_to_main_is_no_address(monkeypatch, tmp_path):
    """`import multiprocessing` makes sys.modules["__mp_main__"], which no other process could import."""
    path = tmp_path / "script.py"
    path.write_text("")
    main = types.ModuleType("__main__")
    main.__file__, main.mine = str(path), Thing()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setitem(sys.modules, "__mp_main__", main)
    assert find_address(main.mine) == FlowAddress(str(path.resolve()), "mine")


def test_an_object_of_main_is_found_in_its_file(monkeypatch, tmp_path):
    path = tmp_path / "script.py"
    path.write_text("")
    main = types.ModuleType("__main__")
    main.__file__, main.mine = str(path), Thing()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert find_address(main.mine) == FlowAddress(str(Path(path).resolve()), "mine")


def test_an_object_without_an_address_says_both_ways_out(monkeypatch):
    with pytest.raises(GraphError, match=r"made in a function.*flow=\"file.py:build\".*threads"):
        find_address(Thing())
    main = types.ModuleType("__main__")
    main.mine = Thing()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(GraphError, match="a notebook or a REPL"):
        find_address(main.mine)
