"""What somebody meets who runs the command line for the first time, on a machine that isn't as expected."""

from __future__ import annotations

import os
import sys
import sysconfig

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
