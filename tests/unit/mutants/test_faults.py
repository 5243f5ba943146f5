"""The list of faults fits the code: `make mutants` plants them, which takes minutes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[3]
FAULTS_MIN = 40


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted_and_is_code(fault: Fault) -> None:
    text = (ROOT / fault.path).read_text()
    assert text.count(fault.old) == 1, f"the code has changed: mend the fault's text for {fault.path}"
    ast.parse(text.replace(fault.old, fault.new))
    assert fault.tests
    assert all((ROOT / test).exists() for test in fault.tests)


def test_there_are_enough_faults_and_each_has_a_name_of_its_own() -> None:
    assert len(FAULTS) >= FAULTS_MIN
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
