from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.ports import Ports, our_ports

if TYPE_CHECKING:
    from pathlib import Path

TAKE_ALL = """
from tests.ports import Ports, our_ports
import tests.ports
tests.ports.our_ports = lambda: range({first}, {last})
try:
    print(Ports().take())
except AssertionError:
    print("none")
"""


@pytest.mark.parametrize(("kernels", "ours"), [("32768 60999", (12768, 32767)), ("1024 40000", (40001, 65535))])
def test_ports_are_none_that_the_kernel_gives_to_clients(tmp_path: Path, kernels: str, ours: tuple[int, int]) -> None:
    (tmp_path / "range").write_text(kernels)
    found = our_ports(tmp_path / "range")
    assert (found[0], found[-1]) == ours


def test_where_clients_may_have_all_ports_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "range").write_text("1024\t65535\n")
    with pytest.raises(AssertionError, match="too few are left"):
        our_ports(tmp_path / "range")


def test_a_port_is_kept_from_other_processes_while_nobody_is_bound_there(ports: Ports, process: Any) -> None:
    port = ports.take()
    script = TAKE_ALL.format(first=port, last=port + 1)
    other = process(sys.executable, "-c", script)
    assert other.wait() == 0, other.stderr
    assert other.stdout == "none\n"
    ports.close()
    other = process(sys.executable, "-c", script)
    assert other.wait() == 0, other.stderr
    assert other.stdout == f"{port}\n"


def test_a_port_where_somebody_is_bound_is_not_given(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    port = ports.take(2)
    with socket.socket() as somebody, Ports() as others:
        somebody.bind(("127.0.0.1", port))
        ports.close()
        monkeypatch.setattr("tests.ports.our_ports", lambda: range(port, port + 2))
        assert others.take() == port + 1
