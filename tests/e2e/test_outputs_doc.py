"""docs/outputs.md: its example runs as it stands, prints what it says, and passes as a user's own file."""

from __future__ import annotations

import re
import sys


def test_the_example_of_the_outputs_page_prints_what_the_page_says(root, process, tmp_path):
    page = (root / "docs" / "outputs.md").read_text()
    code, output = re.search(r"```python\n(.*?)```\nIt prints\n```text\n(.*?)```", page, re.DOTALL).groups()
    (tmp_path / "flow.py").write_text(code)
    run = process(sys.executable, "flow.py")
    assert run.wait() == 0, run.stderr
    assert run.stdout == output
