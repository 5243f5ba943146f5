"""What a program asks of a client in a wrong way: told where it is asked, before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from consecution.client import Client
from consecution.errors import ClusterError, GraphError

NOBODY = "tcp://127.0.0.1:9"


def test_a_closed_client_says_so() -> None:
    with Client(NOBODY) as client:
        pass
    with pytest.raises(ClusterError, match="this client is closed; ask inside of its `with`"):
        client.list()


def test_a_path_is_no_flow_to_submit() -> None:
    path: Any = "flow.py"
    with Client(NOBODY) as client, pytest.raises(GraphError, match=r"submit\('flow.py'\): expected what read_flow"):
        client.submit(path)


def test_a_key_is_text() -> None:
    key: Any = 7
    with Client(NOBODY) as client, pytest.raises(TypeError, match=r"key=7: expected a str"):
        client.push("orders", {"id": 7}, key=key)


def test_keys_are_read_from_a_path_of_any_kind(tmp_path: Any) -> None:
    for path in (tmp_path / "me.keys", str(tmp_path / "me.keys")):
        with pytest.raises(ClusterError, match="can't be read: No such file or directory"):
            Client(NOBODY, keys=path, coordinator_key="x" * 40)
