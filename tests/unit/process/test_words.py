"""Why a process can't go on is the same error on both sides."""

from __future__ import annotations

import pytest

from consecution.errors import (
    ClusterError,
    ConsecutionError,
    GraphError,
    JournalError,
    OutputClosed,
    SourceError,
    UserCodeError,
)
from consecution.journal.base import JournalFull
from consecution.process.words import broke_of, error_of

KINDS = [GraphError, UserCodeError, SourceError, JournalError, ClusterError, ConsecutionError]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_ours_arrives_with_its_type_its_words_and_its_traceback(kind) -> None:
    error = error_of(broke_of(kind("node 'a' is wrong; mend it"), is_loading=False))
    assert type(error) is kind
    assert str(error) == "node 'a' is wrong; mend it"
    (note,) = error.__notes__
    assert note.startswith("In the executor:\n")
    assert kind.__name__ in note


def test_a_journal_that_is_full_is_told_as_what_users_may_catch() -> None:
    assert broke_of(JournalFull("no space"), is_loading=False).message == "JournalError: no space"


@pytest.mark.parametrize(("is_loading", "kind"), [(True, GraphError), (False, ConsecutionError)])
def test_any_other_error_is_of_the_flow_while_that_is_loaded_and_names_its_type(is_loading, kind) -> None:
    error = error_of(broke_of(KeyError("x"), is_loading=is_loading))
    assert type(error) is kind
    assert str(error) == "KeyError: 'x'"


def test_an_output_that_was_closed_is_no_traceback_of_the_user() -> None:
    error = error_of(broke_of(OutputClosed("stdout"), is_loading=False))
    assert isinstance(error, OutputClosed)
    assert isinstance(error.__cause__, BrokenPipeError)
