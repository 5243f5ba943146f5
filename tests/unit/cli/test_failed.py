"""The verbs of `failed` on a real journal; replay, which needs a flow, is in tests/e2e/test_cli_failed.py."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from typer.testing import CliRunner

from consecution.cli.failed import app
from consecution.guarantee.changes import Changes, DeadLetter
from consecution.guarantee.messages import Cause
from consecution.journal.base import Header, ProducerHeader, ProducerRound, Round
from consecution.journal.sqlite import SqliteJournal, open_for_reading

CAUSE = Cause("parse", "ValueError", "no number: 'x'", "Traceback …\n  line 1\nValueError", "'x'", "host-a", 42)


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """./.consecution/shop with three dead letters, of which the third is dropped."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".consecution" / "shop"
    with closing(SqliteJournal(folder)) as made:
        made.begin(Header("shop"), [ProducerHeader("list", "list", "handed over")])
        made.append("list", 0, ["a", {"k": (1, 2)}, "c"], sync=True)
        dead = [DeadLetter(seq, 4, CAUSE, item) for seq, item in enumerate(["a", {"k": (1, 2)}, "c"])]
        made.commit(Round((ProducerRound("list", Changes(dead=dead), 3, (), 3),)))
        made.drop_dead_letters([3])
    return folder


def run(*arguments, code=0):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_list_shows_what_stands_by_the_flows_name_without_importing_it(journal):
    lines = run("list", "no_such_dir/shop.py").stdout.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:4] == ["1", "list:0", "4", "parse"]
    assert "ValueError: no number: 'x'" in lines[1]


@pytest.mark.parametrize("target", ["shop", "shop.py:build", "pkg.shop", "pkg.shop:build"])
def test_a_journal_is_found_by_address_or_name(journal, target):
    assert "list:0" in run("list", target).stdout


def test_a_journal_is_found_by_the_name_that_the_flow_s_file_gives_its_consecutor(journal, tmp_path):
    (tmp_path / "flow.py").write_text('raise SystemExit("it is not imported")\nflow = Consecutor(rows, "shop")\n')
    assert "list:0" in run("list", "flow.py").stdout
    (tmp_path / "flow.py").write_text("a line that (Python can't read 'shop'\n")
    assert "there are: shop" in run("list", "flow.py", code=1).stderr


def test_a_journal_is_found_by_its_folder(journal, monkeypatch):
    monkeypatch.chdir("/")
    assert "list:0" in run("list", "whatever.py", "--journal", str(journal)).stdout


def test_list_all_shows_what_was_done_with_the_others(journal):
    told = json.loads(run("list", "shop", "--all", "--json").stdout)
    assert [letter["status"] for letter in told] == ["failed", "failed", "dropped"]
    assert told[1]["item"] == {"k": [1, 2]}
    assert told[0]["cause"]["exception"] == "ValueError"


def test_no_journal_names_those_that_are_there(journal):
    result = run("list", "other.py", code=1)
    assert "no journal of 'other.py'" in result.stderr
    assert "there are: shop" in result.stderr


def test_show_tells_the_whole_story(journal):
    told = run("show", "shop", "2").stdout
    for part in (
        "dead letter 2: item 1 of list, failed",
        "{'k': (1, 2)}",
        "4 attempts",
        "process 42 on host-a",
        "line 1",
    ):
        assert part in told
    assert "no dead letter 9" in run("show", "shop", "9", code=1).stderr


def test_drop_gives_up_the_ones_that_were_named(journal):
    assert run("drop", "shop", "1").stderr == "dropped 1\n"
    assert [letter["id"] for letter in json.loads(run("list", "shop", "--json").stdout)] == [2]
    assert "is dropped already" in run("drop", "shop", "1", code=1).stderr
    assert run("drop", "shop", "--all").stderr == "dropped 1\n"
    assert run("list", "shop").stderr == "no dead letters\n"
    with closing(open_for_reading(journal)) as opened:
        assert opened.counts().failed == 3


def test_drop_needs_numbers_or_all_but_not_both(journal):
    run("drop", "shop", code=2)
    run("drop", "shop", "1", "--all", code=2)


def test_export_writes_one_json_object_a_line(journal, tmp_path):
    lines = run("export", "shop").stdout.splitlines()
    assert [json.loads(line)["item_repr"] for line in lines] == ["'a'", "{'k': (1, 2)}"]
    run("export", "shop", "2", "--output", str(tmp_path / "out.jsonl"))
    assert json.loads((tmp_path / "out.jsonl").read_text())["item_number"] == 1


def test_a_damaged_journal_is_told_and_left_as_it_is(journal):
    file = journal / "journal.sqlite"
    file.write_bytes(b"garbage" * 100)
    result = run("list", "shop", code=1)
    assert "is damaged" in result.stderr
    assert "Traceback" not in result.stderr
    assert file.read_bytes() == b"garbage" * 100
