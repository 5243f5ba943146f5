"""Each producer with senders against the contract for those; and what docs/producers.md shows, as it stands there."""

from __future__ import annotations

import re
import socket
import threading
from collections import deque
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Producer
from consecution.producers import HttpProducer, Read, SourceClass, TcpProducer
from consecution.testing.producer_contract import check_handed_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def threads() -> Iterator[list[threading.Thread]]:
    """Threads of senders; all have heard when their producer is closed."""
    started: list[threading.Thread] = []
    yield started
    for thread in started:
        thread.join(20)


def in_thread(threads: list[threading.Thread], ask: Callable[[], bool | None]) -> Callable[[], bool | None]:
    """Ask in a thread; gives what tells the answer."""
    answers: list[bool | None] = []

    def run() -> None:
        try:
            answers.append(ask())
        except (OSError, HTTPException):
            answers.append(None)

    thread = threading.Thread(target=run)
    thread.start()
    threads.append(thread)
    return lambda: answers[0] if answers else None


def test_http_keeps_the_contract(threads: list[threading.Thread]) -> None:
    def send(producer: Producer, text: str) -> Callable[[], bool | None]:
        assert isinstance(producer, HttpProducer)
        client = HTTPConnection(*producer.address, timeout=20)

        def ask() -> bool:
            try:
                client.request("POST", "/items", f'"{text}"', {"Content-Type": "application/json"})
                return client.getresponse().status == 202
            finally:
                client.close()

        return in_thread(threads, ask)

    check_handed_over(lambda: HttpProducer(0), send)


@pytest.mark.parametrize("format_", ["text", "json"])
def test_tcp_keeps_the_contract(threads: list[threading.Thread], format_: str) -> None:
    def send(producer: Producer, text: str) -> Callable[[], bool | None]:
        assert isinstance(producer, TcpProducer)
        client = socket.create_connection(producer.address, 20)
        client.sendall((text if format_ == "text" else f'"{text}"').encode() + b"\n")

        def ask() -> bool | None:
            with client, client.makefile() as answers:
                line = answers.readline()
            return line.startswith("ok") if line else None

        return in_thread(threads, ask)

    check_handed_over(lambda: TcpProducer(0, format=format_), send)


class Hasty(Producer):
    """Says yes as soon as it has read."""

    source = SourceClass.HANDED_OVER

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()
        self.heard: set[str] = set()

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Nothing."""

    def read(self, items_max: int, wait_s: float) -> Read:
        items = [self.waiting.popleft() for _ in range(min(items_max, len(self.waiting)))]
        self.heard.update(items)
        return Read(items)


def test_who_says_yes_too_early_is_found() -> None:
    def send(producer: Producer, text: str) -> Callable[[], bool | None]:
        assert isinstance(producer, Hasty)
        producer.waiting.append(text)
        return lambda: text in producer.heard or None

    with pytest.raises(AssertionError, match="heard yes before the item was acknowledged"):
        check_handed_over(Hasty, send)


@dataclass(eq=False)
class Letter:
    text: str
    id: str
    is_deleted: bool = False


@dataclass
class Box:
    """A mailbox that gives a letter again until it is deleted."""

    letters: list[Letter] = field(default_factory=list)
    out: list[Letter] = field(default_factory=list)

    def put(self, text: str) -> Callable[[], bool | None]:
        letter = Letter(text, f"id of {text}")
        self.letters.append(letter)
        return lambda: letter.is_deleted or None

    def receive(self, letters_max: int, wait_s: float) -> list[Letter]:
        given, self.letters = self.letters[:letters_max], self.letters[letters_max:]
        self.out += given
        return given

    def delete(self, letter: Letter) -> None:
        self.out.remove(letter)
        letter.is_deleted = True

    def give_back(self, letter: Letter) -> None:
        self.out.remove(letter)
        self.letters.append(letter)


def test_the_producers_of_the_page_keep_the_contract(root: Path) -> None:
    text = (root / "docs" / "producers.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text[text.index("## Your own") :], re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {"Box": Box}
    for block in blocks:
        exec(block, names)
    names["test_countdown_keeps_the_contract"]()
    names["test_mailbox_keeps_the_contract"]()
