"""A chain of three consecutors with blocking outputs, each killed in turn: nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.chain_kills import BAD, Chain, missing

if TYPE_CHECKING:
    from pathlib import Path

BADS = [number for number in range(1500) if number % BAD == 0]


@pytest.mark.parametrize("who", ["a", "b", "c"])
def test_the_process_dies_in_each_consecutor_in_turn_and_nothing_is_lost(who: str, tmp_path: Path) -> None:
    chain = Chain(tmp_path, "single", 1500, {"KILL": who})
    assert chain.end() == (-9, None)
    assert (tmp_path / f"killed-{who}").exists()
    code, report = chain.end()
    assert report is not None, (tmp_path / "errors").read_text()
    assert code == 3, "b has dead letters"
    assert missing(chain, report) == set()
    by_consecutor = report["by_consecutor"]
    assert [by_consecutor[name]["introduced"] >= 1500 - len(BADS) for name in "abc"] == [True] * 3
    assert by_consecutor["a"]["completed"] == 1500
    for name in "bc":
        part = by_consecutor[name]
        assert part["introduced"] == part["completed"] + part["failed"]
    assert set(chain.sink()) == set(range(1500)) - set(BADS)


def test_the_executors_of_each_consecutor_die_in_turn_and_nothing_is_lost(tmp_path: Path) -> None:
    chain = Chain(tmp_path, "processes", 1500, {"KILL": "a,b,c"})
    code, report = chain.end()
    assert report is not None, (tmp_path / "errors").read_text()
    assert sorted(path.name for path in tmp_path.glob("killed-*")) == ["killed-a", "killed-b", "killed-c"]
    assert code == 3
    assert missing(chain, report) == set()
    assert report["by_consecutor"]["a"]["completed"] == 1500
    assert report["is_finished"]


def test_the_caller_of_executors_dies_and_the_next_run_goes_on(tmp_path: Path, wait_for) -> None:
    chain = Chain(tmp_path, "processes", 1500, {})
    process = chain.start()
    try:
        wait_for(lambda: len(chain.sink()) > 100, 60, "some items at the end of the chain")
    finally:
        process.kill()
        process.communicate()
    code, report = chain.end()
    assert report is not None, (tmp_path / "errors").read_text()
    assert code == 3
    assert missing(chain, report) == set()
    assert report["by_consecutor"]["a"]["completed"] == 1500
