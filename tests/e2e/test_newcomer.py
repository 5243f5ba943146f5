"""What somebody meets who runs the command line for the first time, on a machine that isn't as expected."""

from __future__ import annotations

import os
import re
import signal
import sys
import sysconfig
from functools import partial
from pathlib import Path

import pytest

FLOW = """
from consecution import Consecutor, Map

def parse(line):
    return float(line)

flow = Consecutor(["1", "2", "oops"] | Map(parse), "orders", replays_max=0)
"""


@pytest.fixture
def flow(tmp_path):
    file = tmp_path / "flow.py"
    file.write_text(FLOW)
    return file


def test_the_command_that_a_run_advises_finds_the_dead_letters(consecution, flow):
    for words in ((), ("--journal", "kept here")):
        ran = consecution("run", "flow.py", *words)
        assert ran.wait() == 3
        (advice,) = [line for line in ran.stderr.splitlines() if line.startswith("  to do: ")]
        assert advice.startswith("  to do: consecution failed list flow.py")
        listed = consecution("failed", "list", "flow.py", *words)
        assert listed.wait() == 0, listed.stderr
        assert "sequence:2" in listed.stdout
    assert "--journal 'kept here'" in advice


def test_a_second_run_that_finds_nothing_to_do_says_so(consecution, flow):
    first = consecution("run", "flow.py")
    assert first.wait() == 3
    assert "nothing was left to do" not in first.stderr
    again = consecution("run", "flow.py")
    assert again.wait() == 3
    assert "nothing was left to do: an earlier run had done all of it; --fresh begins anew" in again.stderr
    fresh = consecution("run", "flow.py", "--fresh")
    assert fresh.wait() == 3
    assert "nothing was left to do" not in fresh.stderr


def test_what_a_run_advises_can_be_pasted(consecution, flow):
    """With a space in the file's name, and with the options that the flow needs; their values may be secret."""
    file = flow.with_name("my flow.py")
    file.write_text(FLOW.replace("Map\n", "Map, options\n").replace('"oops"', 'options["last"]'))
    ran = consecution("run", "my flow.py", "-D", "last=oops")
    assert ran.wait() == 3
    assert (
        "  to do: consecution failed list 'my flow.py'; after the fix: "
        "consecution failed replay 'my flow.py' -D last=… --all" in ran.stderr.splitlines()
    )


def test_nothing_is_advised_when_no_dead_letter_is_left(consecution, flow):
    assert consecution("run", "flow.py").wait() == 3
    assert consecution("failed", "drop", "flow.py", "--all").wait() == 0
    again = consecution("run", "flow.py")
    assert again.wait() == 3
    assert "  of what failed nothing is left: all of it was replayed or dropped" in again.stderr.splitlines()
    assert "  to do: " not in again.stderr


def test_a_number_that_is_no_dead_letter_is_told_with_the_command_that_lists_them(consecution, flow):
    assert consecution("run", "flow.py").wait() == 3
    for verb in ("show", "drop", "export"):
        asked = consecution("failed", verb, "flow.py", "7")
        assert asked.wait() == 1
        assert asked.stderr == "error: no dead letter 7; `consecution failed list flow.py` shows those that are there\n"


def test_a_source_without_an_end_is_never_said_to_be_done(consecution, flow, wait_for):
    flow.with_name("lines.txt").write_text("1\n2\n")
    flow.write_text(FLOW.replace("Map\n", "Map, PipeProducer\n").replace(
        '["1", "2", "oops"]', 'PipeProducer("lines.txt", follow=True)'
    ).replace("Map(parse)", 'Map(parse) | Map(lambda n: open("seen", "a").close())'))  # fmt: skip
    for number in range(2):
        ran = consecution("run", "flow.py")
        if number == 0:
            wait_for(flow.with_name("seen").exists, 30, "the lines are read")
        else:
            wait_for(partial(drains_when_asked, ran), 30, "the run has begun")
        ran.send_signal(signal.SIGINT)
        assert ran.wait() == 130
        assert "orders: 2 introduced, 2 completed" in ran.stderr
        assert "nothing was left to do" not in ran.stderr


def drains_when_asked(ran):
    """Whether the run has its handler of signals: a Python process catches SIGTERM only when told to."""
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{ran.pid}/status").read_text())
    return int(caught, 16) >> (signal.SIGTERM - 1) & 1


def test_workers_in_mode_single_are_said_to_change_nothing(consecution, flow):
    ran = consecution("run", "flow.py", "--workers", "4")
    assert ran.wait() == 3
    assert "mode single runs all in one thread: 4 workers need mode threads or processes" in ran.stderr


@pytest.mark.parametrize("words", [["--version"], ["run", "--help"], ["graph", "flow.py"]], ids=" ".join)
def test_an_output_that_takes_nothing_is_told_without_a_traceback(process, flow, words):
    ran = process("sh", "-c", f"{sys.executable} -m consecution {' '.join(words)} > /dev/full")
    assert ran.wait() == 1
    assert ran.stderr.startswith("error: ")
    assert "No space left on device" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_run_without_a_standard_output_ends_as_any_other(process, flow):
    ran = process("sh", "-c", f"{sys.executable} -m consecution run flow.py >&-")
    assert ran.wait() == 3
    assert "orders: 3 introduced, 2 completed, 1 failed" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_narrow_terminal_gets_help_without_a_word_cut_off(consecution):
    told = consecution("run", "--help", env={"COLUMNS": "40"})
    assert told.wait() == 0
    assert "CONSECUTION_DEFINE" in "".join(told.stdout.split())  # long ones are broken
    assert not set("│…") & set(told.stdout)


def test_a_replay_by_the_consecutors_name_says_that_it_needs_the_flow(consecution, flow):
    assert consecution("run", "flow.py").wait() == 3
    assert consecution("failed", "list", "orders").wait() == 0
    replayed = consecution("failed", "replay", "orders", "--all", env={"COLUMNS": "200"})
    assert replayed.wait() == 2
    assert "'orders' is a consecutor's name, but a replay runs the flow's code" in replayed.stderr
    assert consecution("failed", "replay", "flow", "--all").wait() == 3


def test_a_narrow_terminal_gets_dead_letters_as_lines(consecution, flow):
    assert consecution("run", "flow.py").wait() == 3
    told = consecution("failed", "list", "flow.py", env={"COLUMNS": "40", "FORCE_COLOR": "1"})
    assert told.wait() == 0
    assert told.stdout.splitlines() == [
        "1  sequence:2, 1 try, failed",
        "  parse: ValueError: could not convert string to float: 'oops'",
        "  'oops'",
    ]


@pytest.mark.parametrize("does", ["sums", "passes on"])
def test_what_an_earlier_run_left_unfinished_is_told_before_it_is_mixed_with_a_new_input(process, root, flow, does):
    """As ``cat book | consecution run wordcount.py | head -1``, and then another text."""
    if does == "sums":
        flow.write_text((root / "examples" / "wordcount.py").read_text())
    else:
        flow.write_text(
            "import sys\n"
            "from consecution import Consecutor\n"
            "from consecution.sinks import StdoutWriter\n"
            "flow = Consecutor(sys.stdin | StdoutWriter())\n"
        )
    run = f"{sys.executable} -m consecution run flow.py"
    flow.with_name("book.txt").write_text("".join(f"word{n}\n" for n in range(20_000)))
    assert process("sh", "-c", f"cat book.txt | {run} | head -1").wait() == 0
    again = process("sh", "-c", f"echo other | {run}")
    assert again.wait() == 0
    assert re.search(
        r"^goes on with [\d,]+ unfinished items of an earlier run; --fresh begins anew$", again.stderr, re.MULTILINE
    )
    fresh = process("sh", "-c", f"echo other | {run} --fresh")
    assert fresh.wait() == 0
    assert fresh.stdout == {"sums": "other\t1\n", "passes on": "other\n"}[does]
    assert "goes on" not in fresh.stderr


def test_a_drawing_in_the_c_locale_is_made_of_ascii(consecution, flow):
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    drawn = consecution("graph", "flow.py", env=locale)
    assert drawn.wait() == 0, drawn.stderr
    assert drawn.stdout.split() == [">", "Rows", "|", "*", "parse", "Map"]


def test_a_failures_file_that_can_not_be_written_is_told_before_the_run(consecution, flow):
    ran = consecution("run", "flow.py", "--failed", "no/such/folder/failed.jsonl")
    assert ran.wait() == 1
    assert "'no/such/folder/failed.jsonl' can't be used: No such file or directory" in ran.stderr
    assert "make its folder first" in ran.stderr
    assert "introduced" not in ran.stderr


def test_a_table_whose_reader_leaves_is_quiet(consecution, process, flow):
    assert consecution("run", "flow.py").wait() == 3
    # The reader is gone before the first row, whatever the machine does.
    code = "import os, subprocess, sys; r, w = os.pipe(); os.close(r); "
    code += "sys.exit(subprocess.run([sys.executable, '-m', 'consecution', *sys.argv[1:]], stdout=w).returncode)"
    ran = process(sys.executable, "-c", code, "failed", "list", "flow.py")
    assert ran.wait() == 141
    assert ran.stderr == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_flow_that_this_user_may_not_read_is_no_fault_of_its_code(process, flow, root):
    flow.chmod(0o600)
    for folder in (flow.parent, *flow.parent.parents):
        if folder.stat().st_uid == os.geteuid() and folder.name.startswith(("pytest", "popen", "test_")):
            folder.chmod(0o755)
    code = (
        "import os, sys; from consecution.flow import parse_address; from consecution.errors import GraphError\n"
        "os.setuid(65534)\n"
        "try: parse_address('flow.py')\n"
        "except GraphError as error: print(error)"
    )
    ran = process(sys.executable, "-c", code, env={"PYTHONPATH": f"{root}:{sysconfig.get_path('purelib')}"})
    assert ran.wait() == 0, ran.stderr
    assert ran.stdout == f"flow file {flow} can't be read: Permission denied; let user 65534 read it (chmod +r)\n"
