"""Which key may say what."""

from __future__ import annotations

import pytest
from consecution_coordinator.roles import KeyRole, may, needed_role, parse_roles, read_roles

from consecution.errors import ClusterError
from consecution.wire.cluster.from_client import FROM_CLIENT, AskFates, AskStatus, Kill, ListAll, Push
from consecution.wire.cluster.from_worker import FROM_WORKER, Register

KEY = "k" * 40


def test_every_message_needs_a_role_and_no_role_may_nothing():
    for kind in FROM_WORKER + FROM_CLIENT:
        message = object.__new__(kind)
        assert needed_role(message)
        assert not may(frozenset(), message)
        assert not may(frozenset({KeyRole.COORDINATOR}), message)


def test_a_worker_s_key_may_not_submit_and_a_submitter_s_may_not_register():
    worker, submitter, reader = (frozenset({role}) for role in (KeyRole.WORKER, KeyRole.SUBMITTER, KeyRole.READER))
    for kind in FROM_CLIENT:
        assert not may(worker, object.__new__(kind))
        assert may(submitter, object.__new__(kind))
    for kind in FROM_WORKER:
        assert may(worker, object.__new__(kind))
        assert not may(submitter, object.__new__(kind))
    assert may(reader, ListAll())
    assert may(reader, AskStatus("x"))
    assert not may(reader, Kill("x"))
    assert not may(reader, object.__new__(Register))


def test_a_sender_s_key_may_push_and_ask_for_its_items_and_nothing_else():
    sender, reader = frozenset({KeyRole.SENDER}), frozenset({KeyRole.READER})
    allowed = {kind for kind in FROM_WORKER + FROM_CLIENT if may(sender, object.__new__(kind))}
    assert allowed == {Push, AskFates}
    assert not may(reader, object.__new__(Push))


def test_two_lines_of_one_key_add_up():
    roles = parse_roles(f"{KEY} worker\n\n# c\n{KEY} reader laptop of ann\n", "f")
    assert roles == {KEY.encode(): frozenset({KeyRole.WORKER, KeyRole.READER})}


@pytest.mark.parametrize("line", ["short worker", KEY, f"{KEY} admin", f"{KEY} worker,", f"{'é' * 40} worker"])
def test_a_wrong_line_is_named_by_its_number(line):
    with pytest.raises(ClusterError, match="f, line 2"):
        parse_roles(f"# first\n{line}\n", "f")


def test_a_list_that_others_may_write_is_refused(tmp_path):
    path = tmp_path / "allowed.txt"
    path.write_text(f"{KEY} worker\n")
    path.chmod(0o666)
    with pytest.raises(ClusterError, match="can be written by others"):
        read_roles(path)
    path.chmod(0o644)
    assert read_roles(path)
