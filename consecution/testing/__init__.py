"""What tests of pipelines need: `run_flow` on a virtual clock, `chaos` in real processes, clocks and contract tests."""

from consecution.testing.asserts import assert_all_completed as assert_all_completed
from consecution.testing.chaos import chaos as chaos
from consecution.testing.clock import ManualClock as ManualClock
from consecution.testing.flows import run_flow as run_flow
