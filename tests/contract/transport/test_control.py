"""Questions, answers and news between a coordinator and its clients."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from consecution.errors import CapacityError
from consecution.transport.base import ConnectionFailed
from consecution.transport.zeromq import ControlClient, ControlServer, Keys, News, Reply, new_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCAL = "tcp://127.0.0.1:*"


class Control:
    def __init__(self, keys: Keys | None = None, allowed: tuple[bytes, ...] = ()) -> None:
        self.server = ControlServer(LOCAL, LOCAL, keys=keys, allowed=allowed)
        self.requests: list[Any] = []
        self.clients: list[ControlClient] = []
        self.news: list[Any] = []

    def client(self, *, keys: Keys | None = None, server_key: bytes | None = None) -> ControlClient:
        one = ControlClient(self.server.address, self.server.news_address, keys=keys, server_key=server_key)
        self.clients.append(one)
        return one

    def until(self, condition: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, f"{what}: {self.news}, {self.requests}"
            self.requests += self.server.poll(0.005)
            for client in self.clients:
                self.news += client.poll(0.005)


@pytest.fixture
def controls() -> Iterator[Callable[..., Control]]:
    made: list[Control] = []

    def make(*arguments: Any) -> Control:
        made.append(Control(*arguments))
        return made[-1]

    yield make
    for control in made:
        for client in control.clients:
            client.close()
        control.server.close()


def test_question_is_answered(controls: Callable[..., Control]) -> None:
    control = controls()
    client = control.client()
    control.until(lambda: client.send(b"who?"), "a connection")
    control.until(lambda: control.requests, "the question")
    assert control.requests[0].payload == b"who?"
    assert control.server.reply(control.requests[0].route, b"me")
    control.until(lambda: Reply(b"me") in control.news, "the answer")


def test_answer_to_a_client_that_has_gone_is_not_lost_in_silence(controls: Callable[..., Control]) -> None:
    control = controls()
    client = control.client()
    control.until(lambda: client.send(b"who?"), "a connection")
    control.until(lambda: control.requests, "the question")
    control.clients.remove(client)
    client.close()
    control.until(lambda: not control.server.reply(control.requests[0].route, b"me"), "the route is gone")


def test_news_reach_who_listens_and_a_slow_one_loses_some_without_holding_up_anybody(
    controls: Callable[..., Control],
) -> None:
    """PUB drops what a subscriber doesn't take: news are numbered, and whoever lags asks for the whole."""
    control = controls()
    control.client()

    def heard() -> bool:
        control.server.publish(b"0")
        return News(b"0") in control.news

    control.until(heard, "news")
    control.news.clear()
    start = time.monotonic()
    for number in range(1, 30_001):
        control.server.publish(b"%d" % number + b" " * 2000)
    assert time.monotonic() - start < 8, "publishing waited for a subscriber"

    def newest() -> bool:
        control.server.publish(b"last")
        return News(b"last") in control.news

    control.until(newest, "news go on after the loss")
    numbers = [int(one.payload) for one in control.news if one.payload not in (b"last", b"0")]
    assert numbers == sorted(numbers)


def test_request_names_the_key_that_its_connection_proved_to_have(controls: Callable[..., Control]) -> None:
    server, mine = new_keys(), new_keys()
    control = controls(server, (mine.public,))
    client = control.client(keys=mine, server_key=server.public)
    control.until(lambda: client.send(b"hello"), "a connection")
    control.until(lambda: control.requests, "the question")
    assert control.requests[0].key == mine.public


def test_client_with_a_key_that_is_not_allowed_is_told_so_and_gets_in_once_it_is(
    controls: Callable[..., Control],
) -> None:
    server, mine = new_keys(), new_keys()
    control = controls(server, ())
    client = control.client(keys=mine, server_key=server.public)
    control.until(lambda: any(isinstance(one, ConnectionFailed) for one in control.news), "a refusal")
    assert "refused the key" in control.news[0].reason
    assert mine.public[:8].decode() in control.server.take_refusals()[0]
    assert not client.send(b"hello")
    control.server.allow([mine.public])
    control.until(lambda: client.send(b"hello"), "a connection, after it was allowed")


def test_client_without_keys_is_not_let_in(controls: Callable[..., Control]) -> None:
    control = controls(new_keys(), ())
    client = control.client()
    control.until(lambda: any(isinstance(one, ConnectionFailed) for one in control.news), "a report")
    assert not client.send(b"hello")
    assert control.requests == []


def test_payload_that_is_too_large_is_refused_before_it_ends_the_connection(controls: Callable[..., Control]) -> None:
    control = controls()
    client = control.client()
    with pytest.raises(CapacityError):
        client.send(b"x" * (1 << 20))
    with pytest.raises(CapacityError):
        control.server.publish(b"x" * (1 << 20))


def test_a_client_listens_to_news_that_it_learns_of_later(controls: Callable[..., Control]) -> None:
    control = controls()
    client = ControlClient(control.server.address)
    control.clients.append(client)
    control.until(lambda: client.send(b"who?"), "a connection")
    client.listen(control.server.news_address)
    client.listen(control.server.news_address)  # again, as after a restart of the server

    def heard() -> bool:
        control.server.publish(b"news")
        return News(b"news") in control.news

    control.until(heard, "the news")


def test_questions_and_news_go_on_by_connections_that_are_made_anew(controls: Callable[..., Control]) -> None:
    control = controls()
    client = control.client()
    mine, theirs = socket.socketpair()
    with mine, theirs:
        client.watch(mine.fileno())
        for number in range(3):
            question = b"%d" % number
            control.until(lambda: client.send(question), "a connection")  # noqa: B023
            control.until(lambda: any(one.payload == question for one in control.requests), "it came")  # noqa: B023
            route = next(one.route for one in control.requests if one.payload == question)
            assert control.server.reply(route, question)
            control.until(lambda: Reply(question) in control.news, "an answer")  # noqa: B023

            def heard() -> bool:
                control.server.publish(question)  # noqa: B023
                return News(question) in control.news  # noqa: B023

            control.until(heard, "the news")
            client.redial()
        client.unwatch(mine.fileno())  # it was watched all the time


def test_a_watched_file_ends_the_wait(controls: Callable[..., Control]) -> None:
    client = controls().client()
    mine, theirs = socket.socketpair()
    with mine, theirs:
        client.watch(mine.fileno())
        theirs.send(b"x")
        before = time.monotonic()
        client.poll(30.0)
        assert time.monotonic() - before < 10
        client.unwatch(mine.fileno())
