"""An async iterator tells by a descriptor when it has something, and is never asked in vain."""

from __future__ import annotations

import asyncio
import select
import threading

import pytest

from consecution.errors import UserCodeError
from consecution.producers import GeneratorProducer

LONG_S = 30.0


@pytest.fixture
def gate():
    return threading.Event()


def waiting(producer):
    """Wait until the descriptor says that there is something."""
    found, _, _ = select.select([producer.fileno()], [], [], LONG_S)
    return bool(found)


def opened(func):
    producer = GeneratorProducer(func)
    producer.open()
    return producer


def test_the_descriptor_is_readable_when_an_item_is_there_and_not_before(gate):
    async def items(position):
        for number in range(position, 3):
            while not gate.is_set():
                await asyncio.sleep(0.001)
            gate.clear()
            yield number

    producer = opened(items)
    try:
        assert producer.ready_in() is None
        assert producer.read(10, 0.0).items == []
        for number in range(3):
            assert not select.select([producer.fileno()], [], [], 0)[0]
            gate.set()
            assert waiting(producer)
            read = producer.read(10, 0.0)
            assert read.items == [number]
        while not read.ended:  # told with the last item, if it is known then
            assert waiting(producer)
            read = producer.read(10, 0.0)
    finally:
        producer.close()


def test_items_that_are_all_there_are_read_many_at_once():
    async def items(position):
        for number in range(position, 1000):
            yield number

    producer = opened(items)
    try:
        sizes, given = [], []
        while not (read := producer.read(100, 0.0)).ended:
            given += read.items
            sizes += [len(read.items)] * bool(read.items)
            assert read.items or waiting(producer)
        assert given + read.items == list(range(1000))
        assert max(sizes) > 10  # as many as the other thread has made meanwhile, 100 at most
    finally:
        producer.close()


def test_an_error_is_told_by_the_descriptor_too():
    async def items(position):
        yield 1
        raise ValueError("no more")

    producer = opened(items)
    try:
        given = []

        def read_all():
            while True:
                given.extend(producer.read(10, 0.0).items)
                assert waiting(producer)

        with pytest.raises(UserCodeError, match="no more"):
            read_all()
        assert given == [1]
    finally:
        producer.close()


def test_a_generator_that_is_not_async_can_only_be_asked():
    producer = opened(lambda position: iter(range(position, 3)))
    try:
        assert (producer.fileno(), producer.ready_in()) == (None, 0.0)
    finally:
        producer.close()
