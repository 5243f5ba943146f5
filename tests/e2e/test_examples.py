"""The examples and the README do what they say, as a user runs them."""

from __future__ import annotations

import csv
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing

import pytest

BOOK = "to be or not to be that is the question\nto be is to do\n" * 500


def rows_of(out):
    with closing(sqlite3.connect(out / "distances.db")) as database:
        rows = database.execute("SELECT origin, destination, km FROM distances").fetchall()
    with (out / "distances.csv").open(newline="") as lines:
        return rows, [(row["origin"], row["destination"], float(row["km"])) for row in csv.DictReader(lines)]


@pytest.mark.parametrize("mode", ["single", "threads"])
def test_airports_writes_45_distances_into_the_database_and_the_file(consecution, root, tmp_path, mode):
    run = consecution("run", str(root / "examples/airports.py"), "-D", "out=out", "--mode", mode)
    assert run.wait() == 0, run.stderr
    in_database, in_file = rows_of(tmp_path / "out")
    assert len(in_database) == len(in_file) == 45
    assert sorted(in_database) == sorted(in_file)
    assert len({frozenset(row[:2]) for row in in_database}) == 45
    km = {frozenset(row[:2]): row[2] for row in in_database}
    assert km[frozenset({"ATL", "LAX"})] == pytest.approx(3127, abs=5)  # as published for the great circle
    assert km[frozenset({"JFK", "LAX"})] == pytest.approx(3975, abs=5)


def test_show_distances_prints_what_airports_wrote(consecution, root, process, tmp_path):
    assert consecution("run", str(root / "examples/airports.py"), "-D", "out=out").wait() == 0
    show = process(sys.executable, str(root / "examples/show_distances.py"), "out")
    assert show.wait() == 0, show.stderr
    assert "45 rows in out/distances.db, 45 rows in out/distances.csv" in show.stdout


def test_airports_without_its_option_says_how_to_give_it(consecution, root):
    run = consecution("run", str(root / "examples/airports.py"))
    assert run.wait() == 4
    assert "the flow needs option 'out': give -D out=…" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("mode", ["single", "threads"])
def test_wordcount_prints_words_by_falling_count(consecution, root, tmp_path, mode):
    (tmp_path / "book.txt").write_text(BOOK)
    with (tmp_path / "book.txt").open() as book:
        run = consecution("run", str(root / "examples/wordcount.py"), "--mode", mode, stdin=book)
    assert run.wait() == 0, run.stderr
    counts = Counter(BOOK.split())
    expected = [f"{word}\t{count}" for word, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    assert run.stdout.splitlines() == expected


def test_wordcount_in_a_pipe_whose_reader_leaves_is_quiet(consecution, root, process, tmp_path):
    """As `cat book | consecution run wordcount.py | head -1`, with enough output that the pipe breaks."""
    (tmp_path / "book.txt").write_text("\n".join(f"word{n}" for n in range(50_000)))
    command = f"cat book.txt | {sys.executable} -m consecution run {root}/examples/wordcount.py | head -1"
    shell = process("bash", "-c", f"set -o pipefail; {command}; echo codes ${{PIPESTATUS[*]}} >&2")
    shell.wait()
    assert shell.stdout == "word0\t1\n"
    assert "Traceback" not in shell.stderr
    assert "BrokenPipe" not in shell.stderr
    assert shell.stderr.splitlines()[-1] == "codes 0 141 0"


def blocks_of(readme, language):
    return re.findall(rf"<!-- \w+: readme\.py -->\n```{language}\n(.*?)```", readme, re.DOTALL)


def test_the_readme_example_runs_as_it_stands_and_prints_what_it_says(root, tmp_path, process):
    readme = (root / "README.md").read_text()
    (code,), (output,) = blocks_of(readme, "python"), blocks_of(readme, "text")
    assert len(code.splitlines()) <= 12
    (tmp_path / "readme.py").write_text(code)
    run = process(sys.executable, "readme.py")
    assert run.wait() == 0, run.stderr
    assert run.stdout == output


def test_the_readme_example_passes_a_users_strict_mypy(root, tmp_path):
    (tmp_path / "readme.py").write_text(blocks_of((root / "README.md").read_text(), "python")[0])
    check = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", "readme.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr
