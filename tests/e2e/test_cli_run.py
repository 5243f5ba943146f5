"""`consecution run` as a user runs it: results, exit codes, pipes, signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest

HEAD = "import sys\nfrom consecution import Collect, Consecutor, FlatMap, Map, Node, options\n"
HEAD += "from consecution.sinks import FileWriter, StdoutWriter\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="flow.py"):
        (tmp_path / name).write_text(HEAD + text)
        return name

    return write


def test_a_run_prints_its_items_on_stdout_and_its_summary_on_stderr(consecution, write):
    run = consecution("run", write("flow = Consecutor(range(5) | Map(lambda n: 2 * n) | StdoutWriter())"))
    assert run.wait() == 0, run.stderr
    assert run.stdout == "0\n2\n4\n6\n8\n"
    (line,) = run.stderr.splitlines()
    assert line.startswith("flow: 5 introduced, 5 completed, 0 failed")
    assert "\x1b" not in run.stderr


def test_json_is_one_object_with_the_reports_fields(consecution, write):
    run = consecution("run", write("flow = Consecutor(range(5) | Map(str) | Collect('all'))"), "--json", "--quiet")
    assert run.wait() == 0, run.stderr
    assert run.stderr == ""
    report = json.loads(run.stdout)
    assert (report["introduced"], report["completed"], report["failed"], report["is_true"]) == (5, 5, 0, True)
    assert report["collected"] == {"all": ["0", "1", "2", "3", "4"]}
    fields = {"replayed", "dropped", "elapsed_s", "failures", "state_lost", "by_consecutor"}
    assert fields <= report.keys()


def test_a_failed_item_is_told_and_the_exit_code_is_3(consecution, write, tmp_path):
    text = "flow = Consecutor([1, 0, 2] | Map(lambda n: 1 // n, name='inverse'), replays_max=1)"
    run = consecution("run", write(text), "--failed", "failed.jsonl")
    assert run.wait() == 3, run.stderr
    assert "failed at node 'inverse': ZeroDivisionError" in run.stderr
    assert "consecution failed list flow.py" in run.stderr
    assert "Traceback" not in run.stderr
    (failure,) = map(json.loads, (tmp_path / "failed.jsonl").read_text().splitlines())
    assert (failure["item"], failure["attempts"], failure["cause"]["node"]) == (0, 2, "inverse")


def test_options_reach_the_flow_from_flags_and_from_the_environment(consecution, write):
    flow = write("flow = Consecutor([options['word']] | StdoutWriter())")
    run = consecution("run", flow, "-D", "word=hello")
    assert (run.wait(), run.stdout) == (0, "hello\n"), run.stderr
    run = consecution("run", flow, env={"CONSECUTION_DEFINE": "word=hi"})
    assert (run.wait(), run.stdout) == (0, "hi\n"), run.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import nowhere_to_be_found", "install 'nowhere_to_be_found'"),
        ("x = (", "line 4"),
        ("flow = Consecutor(1)", "line 4"),
        ("a = Map(str)\na | a\nflow = Consecutor(a)", "cycle"),
        ("pass", "no global of it is a Consecutor"),
        ("a = Consecutor([1] | Map(str))\nb = Consecutor([1] | Map(str))", "flow.py:b"),
        ("raise SystemExit(9)", "SystemExit: 9"),
    ],
)
def test_a_bad_flow_ends_with_4_without_a_traceback(consecution, write, text, expected):
    run = consecution("run", write(text))
    assert run.wait() == 4
    assert expected in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_traceback_shows_the_users_lines(consecution, write):
    run = consecution("run", write("def f():\n    1 / 0\nf()"), "--traceback")
    assert run.wait() == 4
    assert "Traceback (most recent call last)" in run.stderr
    assert "importlib" not in run.stderr


def test_a_flow_that_runs_itself_needs_no_guard(consecution, process, write):
    flow = write("flow = Consecutor(range(3) | Map(str) | StdoutWriter())\nprint(bool(flow.run()))")
    run = consecution("run", flow)
    assert (run.wait(), run.stdout) == (0, "0\n1\n2\n"), run.stderr
    alone = process(sys.executable, flow)
    assert (alone.wait(), alone.stdout) == (0, "0\n1\n2\nTrue\n"), alone.stderr


def test_a_pipe_whose_reader_leaves_ends_the_run_quietly(process, write):
    flow = write("flow = Consecutor(range(300_000) | Map(str) | StdoutWriter())")
    shell = process(
        "bash", "-c", f"{sys.executable} -m consecution run {flow} | head -2; echo codes ${{PIPESTATUS[*]}} >&2"
    )
    shell.wait()
    assert shell.stdout == "0\n1\n"
    assert shell.stderr.splitlines()[-1] == "codes 141 0"
    assert "Error" not in shell.stderr
    assert "Traceback" not in shell.stderr


def test_json_into_a_closed_pipe_is_quiet(process, write):
    flow = write("flow = Consecutor(range(10) | Map(str))")
    shell = process("bash", "-c", f"{sys.executable} -m consecution run {flow} --json --quiet | true")
    shell.wait()
    assert shell.stderr == ""


ENDLESS = """
import itertools, time
class Slow(Node):
    def process(self, item):
        time.sleep(0.001)
        self.push(item)
flow = Consecutor(itertools.count() | Slow() | FileWriter("out.txt"))
"""


def test_ctrl_c_finishes_what_has_begun_and_the_next_run_goes_on(consecution, write, tmp_path, wait_for):
    flow = write(ENDLESS)
    run = consecution("run", flow)
    wait_for(lambda: (tmp_path / "out.txt").exists() and (tmp_path / "out.txt").stat().st_size, what="output")
    run.send_signal(signal.SIGINT)
    assert run.wait(30) == 130, run.stderr
    assert "Traceback" not in run.stderr
    assert "run it again to go on" in run.stderr
    written = [int(line) for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert written == list(range(len(written)))


def test_a_second_ctrl_c_quits(consecution, write, tmp_path, wait_for):
    text = "import time\nclass Stuck(Node):\n    def process(self, item):\n"
    text += "        open('began', 'w').close()\n        while True: time.sleep(0.01)\n"
    run = consecution("run", write(text + "flow = Consecutor([1] | Stuck())"))
    wait_for((tmp_path / "began").exists)
    run.send_signal(signal.SIGINT)
    wait_for(lambda: "once more" in run.stderr, what="a word about the first Ctrl-C")
    run.send_signal(signal.SIGINT)
    assert run.wait(30) == 130, run.stderr
    assert "Traceback" not in run.stderr


def test_a_second_process_on_the_same_journal_is_refused_and_names_the_first(consecution, write, tmp_path, wait_for):
    flow = write(ENDLESS)
    first = consecution("run", flow)
    wait_for(lambda: (tmp_path / "out.txt").exists(), what="output")
    second = consecution("run", flow)
    assert second.wait() == 1
    assert f"in use by process {first.pid}" in second.stderr
    first.kill()


def test_progress_is_shown_only_on_a_terminal(write, tmp_path, root):
    """A pseudo terminal as stderr gets the live line; it is taken away at the end."""
    flow = write("import time\nflow = Consecutor(range(30) | Map(lambda n: time.sleep(0.02)))")
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "consecution", "run", flow],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(root), "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the terminal's other end is closed
        pass
    finally:
        os.close(ours)
        child.wait(30)
    text = shown.decode()
    assert " in flight" in text
    assert "30 completed" in text.replace("\r", "").splitlines()[-1]


@pytest.mark.parametrize("mode", ["single", "threads", "processes"])
def test_a_reader_that_leaves_ends_the_run_quietly_in_every_mode(process, write, mode):
    """As `consecution run flow.py | head -2`: no traceback, no error, and the code of a closed pipe."""
    flow = write("flow = Consecutor(range(50_000) | Map(str) | StdoutWriter(), journal=None)")
    command = f"{sys.executable} -m consecution run {flow} --mode {mode} | head -2"
    shell = process("bash", "-c", f"{command}; echo codes ${{PIPESTATUS[*]}} >&2")
    assert shell.wait() == 0
    assert shell.stdout == "0\n1\n"
    assert shell.stderr == "codes 141 0\n"


@pytest.mark.parametrize("mode", ["single", "processes"])
def test_where_a_producer_s_own_code_raised_is_told_without_a_traceback(consecution, write, mode):
    text = """
def rows(position):
    yield 1
    yield 1 // (len(str(position)) - 1)  # the guilty line
flow = Consecutor(GeneratorProducer(rows) | Map(str), journal=None)
"""
    run = consecution("run", write("from consecution import GeneratorProducer\n" + text), "--mode", mode)
    assert run.wait() == 4, run.stderr
    assert re.search(r"where: .*flow\.py, line \d+, in rows: .*the guilty line", run.stderr), run.stderr
    assert "Traceback" not in run.stderr


def test_a_run_in_processes_says_nothing_but_its_summary(consecution, write):
    run = consecution("run", write("flow = Consecutor(range(5) | Map(str), journal=None)"), "--mode", "processes")
    assert run.wait() == 0
    (line,) = run.stderr.splitlines()
    assert line.startswith("flow: 5 introduced, 5 completed, 0 failed")


def test_a_setup_that_raises_in_a_process_is_told_once(consecution, write):
    text = (
        "class Bad(Node):\n    def setup(self):\n        raise OSError('no disk')\n"
        "    def process(self, item):\n        self.push(item)\nflow = Consecutor(range(5) | Bad(), journal=None)"
    )
    run = consecution("run", write(text), "--mode", "processes")
    assert run.wait() == 4
    assert run.stderr.count("no disk; nothing was processed") == 1
    assert "in setup: raise OSError('no disk')" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_first_ctrl_c_says_how_much_is_still_to_be_finished(consecution, write, tmp_path, wait_for):
    text = (
        "import pathlib, time\n"
        "def slow(n):\n    pathlib.Path('begun').touch()\n    time.sleep(0.01)\n    return n\n"
        "flow = Consecutor(range(300) | Map(slow), journal=None, pending_max=100)"
    )
    run = consecution("run", write(text), "--mode", "threads")
    wait_for((tmp_path / "begun").exists, 60)
    run.send_signal(signal.SIGINT)
    assert run.wait() == 130, run.stderr
    assert re.search(r"^stopping once the \d+ items in work are finished; once more \(SIGINT\) to quit", run.stderr)


def test_a_flow_without_a_journal_is_not_sent_to_dead_letters_that_nobody_kept(consecution, write, tmp_path):
    """The twelve lines of the README, given to the command line: the consecutor has no name, and no journal."""
    text = "print(Consecutor([1, 0] | Map(lambda n: 1 // n), replays_max=0, journal=None).run())"
    run = consecution("run", write(text))
    assert run.wait() == 3, run.stderr
    assert "1 completed, 1 failed" in run.stderr
    assert "failed list" not in run.stderr
    assert "--failed FILE writes it down" in run.stderr
