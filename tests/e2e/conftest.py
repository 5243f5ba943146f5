"""End to end: what a user does, with real processes."""

from pathlib import Path

# Flows and programs that tests start: they need their environment or arguments to be imported.
collect_ignore = ["processes", *(p.name for p in Path(__file__).parent.glob("*.py") if not p.name.startswith("test_"))]
