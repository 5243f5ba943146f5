"""The short form of fuzzing: the corpus, some thousand changed inputs, and any message by its type.

`make fuzz` goes on for as long as one likes.
"""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consecution.wire import messages, plain
from consecution.wire.cluster import from_client, from_worker, to_worker
from consecution.wire.cluster.parcel import pack
from consecution.wire.placement import Placement
from tests.fuzz import seeds
from tests.fuzz.mutate import MARK, mutated
from tests.fuzz.targets import DECODERS, TARGETS

DECODED, HANDLED = 300, 40
SLOW = {"bundle": 40}  # writes files
ANY = settings(
    max_examples=40, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip


@pytest.fixture(autouse=True)
def _without_warnings_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def test_the_corpus_holds_every_valid_input_and_no_stranger() -> None:
    for target, data in seeds.seeds():
        assert data in seeds.kept(target), f"{target}: run `python -m tests.fuzz --keep-seeds`"
    assert {path.name for path in seeds.CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_once_is_taken_for_ever(target: str) -> None:
    inputs = seeds.kept(target)
    assert inputs
    for data in inputs:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_changed_inputs_are_refused_in_words_or_understood(target: str) -> None:
    inputs = seeds.kept(target)
    rng = random.Random(target)
    for _ in range(SLOW.get(target) or (DECODED if target in DECODERS else HANDLED)):
        data = mutated(rng.choice(inputs), inputs, rng)
        try:
            TARGETS[target](data)
        except BaseException as error:
            error.add_note(f"{target}: {data.hex()}")
            raise


@ANY
@given(st.binary(max_size=200), st.sampled_from(DECODERS))
def test_any_bytes_are_refused_in_words_or_understood(data: bytes, target: str) -> None:
    TARGETS[target](data)


@ANY
@given(st.lists(seeds.any_message(from_worker.FROM_WORKER + from_client.FROM_CLIENT), min_size=1, max_size=6))
def test_the_coordinator_takes_any_message_of_workers_and_clients(sent: list[Any]) -> None:
    TARGETS["coordinator"](MARK.join(pack(one, "r") for one in sent))


@ANY
@given(st.lists(seeds.any_message(to_worker.TO_WORKER + to_worker.NEWS), min_size=1, max_size=6))
def test_a_worker_takes_any_message_of_a_coordinator(sent: list[Any]) -> None:
    TARGETS["agent"](MARK.join(pack(one, "r") for one in sent))


@ANY
@given(st.lists(seeds.any_message(seeds.CONTROL), min_size=1, max_size=6))
def test_a_worker_takes_any_message_of_a_child(sent: list[Any]) -> None:
    packed = [plain.encode(one) for one in sent]
    TARGETS["agent"](MARK.join(packed))
    TARGETS["channel"](b"".join(len(one).to_bytes(4, "big") + one for one in packed))
    for one in packed:
        TARGETS["control"](one)


@ANY
@given(seeds.any_message((Placement,)))
def test_any_placement_is_read_or_refused(sent: Any) -> None:
    plain.decode(plain.encode(sent), (Placement,))


def test_all_kinds_of_messages_are_in_the_corpus() -> None:
    found = {type(messages.decode(data)[0]).__name__ for data in seeds.kept("message") if _is_message(data)}
    assert found == {"Data", "Init", "Sums", "Verdicts", "FlushMark", "EndMark", "Audit", "Hello"}


def _is_message(data: bytes) -> bool:
    try:
        messages.decode(data)
    except Exception:
        return False
    return True
