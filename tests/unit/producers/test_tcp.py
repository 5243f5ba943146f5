"""Items over TCP: formats, answers, bounds, and clients that misbehave."""

from __future__ import annotations

import datetime
import random
import socket
import ssl
import struct
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from consecution import Consecutor, Map, Node, Producer
from consecution.errors import GraphError, SourceError
from consecution.producers import SourceClass, TcpProducer, tcp, tcp_clients
from consecution.producers.listening import listen
from consecution.wire.codec import pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 20.0


@contextmanager
def opened(**options: Any) -> Iterator[TcpProducer]:
    producer = TcpProducer(0, **options)
    producer.open()
    try:
        yield producer
    finally:
        producer.close()


def connect(producer: TcpProducer) -> socket.socket:
    client = socket.create_connection(producer.address, DEADLINE_S)
    client.settimeout(DEADLINE_S)
    return client


def read(producer: TcpProducer, count: int, size: int = 100) -> list[Any]:
    items: list[Any] = []
    end = time.monotonic() + DEADLINE_S
    while len(items) < count and time.monotonic() < end:
        items += producer.read(min(size, count - len(items)), 0.1).items
    return items


def take_all(producer: TcpProducer, count: int) -> list[Any]:
    """Read and acknowledge, as a run does."""
    items: list[Any] = []
    end = time.monotonic() + DEADLINE_S
    while len(items) < count and time.monotonic() < end:
        some = producer.read(1_000, 0.1).items
        producer.acknowledge(len(items), len(some))
        items += some
    return items


def lines(client: socket.socket, count: int) -> list[str]:
    data = b""
    while data.count(b"\n") < count:
        more = client.recv(1 << 16)
        if not more:
            break
        data += more
    return data.decode().splitlines()


def test_what_it_promises_depends_on_its_acknowledgements() -> None:
    assert TcpProducer(0).source is SourceClass.HANDED_OVER
    assert TcpProducer(0, acknowledge=None).source is SourceClass.FIRE_AND_FORGET
    assert isinstance(Producer(kind="tcp", port=0), TcpProducer)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"port": 70_000}, "expected a port from 1 to 65535"),
        ({"port": 0, "format": "xml"}, "expected one of 'text', 'json', 'msgpack'"),
        ({"port": 0, "acknowledge": "maybe"}, "expected 'journalled', 'processed' or None"),
        ({"port": 0, "clients_max": 0}, "expected 1 or more"),
        ({"port": 0, "tls": "server.pem"}, "expected an ssl.SSLContext"),
        ({"port": 0, "host": "0.0.0.0"}, "insecure=True"),
    ],
)
def test_wrong_arguments_are_refused_with_the_cure(options: dict[str, Any], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        TcpProducer(**options)


def test_answers_are_not_held_back_by_nagle() -> None:
    """Python's asyncio sets TCP_NODELAY only on sockets that name their protocol."""
    listener = listen("test", "127.0.0.1", 0)
    assert listener.proto == socket.IPPROTO_TCP
    listener.close()


def test_a_taken_port_is_a_source_error_that_says_so() -> None:
    with opened() as one, pytest.raises(SourceError, match="can't listen on 127"):
        TcpProducer(one.address[1]).open()


def test_each_line_is_answered_once_it_is_journalled_and_no_sooner() -> None:
    with opened() as producer, connect(producer) as client:
        client.sendall(b"a\nb\nc\n")
        assert read(producer, 3) == ["a", "b", "c"]
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(DEADLINE_S)
        producer.acknowledge(0, 2)
        assert lines(client, 2) == ["ok 1", "ok 2"]
        producer.acknowledge(2, 1)
        assert lines(client, 1) == ["ok 3"]


def test_json_lines_that_are_none_are_told_by_number_and_place_and_the_rest_goes_on() -> None:
    with opened(format="json") as producer, connect(producer) as client:
        client.sendall(b'{"a": 1}\n\n{"a": \n  \n[2]\r\n\xff\n')
        assert read(producer, 2) == [{"a": 1}, [2]]
        errors = sorted(lines(client, 2))
        assert errors[0].startswith("error 2 no JSON at line 1, column 7")
        assert errors[1].startswith("error 4 no JSON")
        producer.acknowledge(0, 2)
        assert lines(client, 2) == ["ok 1", "ok 3"]
        assert producer.counts.bad == 2


def test_a_nested_bomb_is_a_bad_line_and_nothing_worse() -> None:
    with opened(format="json") as producer, connect(producer) as client:
        client.sendall(b"[" * 200_000 + b"\n1\n")
        assert read(producer, 1) == [1]
        assert lines(client, 1)[0].startswith("error 1 no JSON at line 1, column 1: maximum recursion")


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def frames(client: socket.socket, count: int) -> list[Any]:
    data, found = b"", []
    while len(found) < count:
        data += client.recv(1 << 16)
        while len(data) >= 4 and len(data) >= 4 + (size := struct.unpack(">I", data[:4])[0]):
            found.append(msgpack.unpackb(data[4 : 4 + size]))
            data = data[4 + size :]
    return found


def test_messagepack_keeps_types_and_is_answered_in_kind() -> None:
    when = datetime.datetime(2026, 3, 29, 2, 30, tzinfo=datetime.UTC)
    with opened(format="msgpack") as producer, connect(producer) as client:
        for byte in frame(pack({"when": when, "who": ("a", 1)})) + frame(b"\xc1") + frame(pack(7)):
            client.sendall(bytes([byte]))  # however it is cut
        assert read(producer, 2) == [{"when": when, "who": ("a", 1)}, 7]
        producer.acknowledge(0, 2)
        answers = sorted(frames(client, 3), key=lambda one: one[1])
        assert [answer[:2] for answer in answers] == [["ok", 1], ["error", 2], ["ok", 3]]


@pytest.mark.parametrize("format_", ["text", "json", "msgpack"])
def test_random_bytes_do_no_harm(format_: str, wait_for: Any) -> None:
    """Whatever comes, it is an item or counted as bad, the connection is answered or closed, and others go on."""
    chance = random.Random(7)
    with opened(format=format_, message_bytes_max=1_000, acknowledge=None) as producer:
        for _ in range(60):
            with connect(producer) as client, suppress(ConnectionError):
                for _ in range(chance.randrange(1, 5)):
                    size = chance.choice((1, 10, 100, 3_000))
                    framed = format_ == "msgpack" and chance.random() < 0.7
                    data = chance.randbytes(size)
                    client.sendall(frame(data) if framed else data + b"\n" * chance.randrange(2))
            producer.acknowledge(0, len(producer.read(10_000, 0.0).items))
        wait_for(lambda: producer.counts.clients == 0, DEADLINE_S)
        while items := producer.read(10_000, 0.05).items:
            producer.acknowledge(0, len(items))
        assert producer.counts.bad > 10
        with connect(producer) as client:
            client.sendall(frame(pack("7")) if format_ == "msgpack" else b'"7"\n')
            assert read(producer, 1) in (["7"], ['"7"'])


def test_a_line_that_is_too_long_ends_its_connection_after_what_came_before_is_answered() -> None:
    with opened(message_bytes_max=10) as producer, connect(producer) as client:
        client.sendall(b"short\n" + b"x" * 11 + b"\nlost\n")
        assert read(producer, 1) == ["short"]
        assert lines(client, 1) == ["error 2 the message is longer than 10 bytes; the connection is closed"]
        producer.acknowledge(0, 1)
        assert lines(client, 2) == ["ok 1"]  # and then the end
    with opened(format="msgpack", message_bytes_max=10) as producer, connect(producer) as client:
        client.sendall(struct.pack(">I", 1 << 31))
        assert frames(client, 1)[0][:2] == ["error", 1]
        assert client.recv(1) == b""


def test_half_a_line_of_a_client_that_dies_is_no_item(wait_for: Any) -> None:
    with opened() as producer:
        client = connect(producer)
        client.sendall(b"whole\nhal")
        assert read(producer, 1) == ["whole"]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # a reset, as when its host dies
        wait_for(lambda: producer.counts.clients == 0, DEADLINE_S)
        assert producer.counts.bad == 1
        producer.acknowledge(0, 1)  # nobody hears, and nobody minds
        with connect(producer) as another:
            another.sendall(b"f\n")
            assert read(producer, 1) == ["f"]


def test_a_client_that_closes_its_side_is_answered_to_the_end() -> None:
    """As with nc at the end of its input: what has no newline is no item, and is told so."""
    with opened() as producer, connect(producer) as client:
        client.sendall(b"a\nb")
        client.shutdown(socket.SHUT_WR)
        assert read(producer, 1) == ["a"]
        assert lines(client, 1) == ["error 2 the connection ended in the middle of the message, which is no item"]
        producer.acknowledge(0, 1)
        assert lines(client, 2) == ["ok 1"]


def test_one_client_too_many_is_told_so_and_another_may_come_later(wait_for: Any) -> None:
    with opened(clients_max=2) as producer:
        first, second = connect(producer), connect(producer)
        wait_for(lambda: producer.counts.clients == 2, DEADLINE_S)
        with connect(producer) as third:
            assert lines(third, 2)[0].startswith("error 0 2 clients are connected")
        assert producer.counts.refused == 1
        first.close()
        wait_for(lambda: producer.counts.clients == 1, DEADLINE_S)
        with connect(producer) as fourth:
            fourth.sendall(b"x\n")
            assert read(producer, 1) == ["x"]
        second.close()


def test_a_client_is_not_read_on_while_nobody_takes_its_items(wait_for: Any) -> None:
    """Back pressure: what it sends stays in its own buffers, and nothing is lost when the run goes on."""
    count = 60_000
    with opened(queue_items_max=100, acknowledge=None) as producer, connect(producer) as client:
        sent = threading.Event()

        def send() -> None:
            client.sendall(b"".join(b"%099d\n" % number for number in range(count)))
            sent.set()

        sender = threading.Thread(target=send)
        sender.start()
        wait_for(lambda: producer.ready_in() == 0.0, DEADLINE_S)
        assert not sent.wait(0.3), "6 MB went into a producer that holds 100 lines of 100 bytes"
        items = take_all(producer, count)
        sender.join(DEADLINE_S)
        assert items == [f"{number:099}" for number in range(count)]


def test_without_answers_no_more_than_a_batch_is_ahead_of_the_journal_whatever_many_clients_send(wait_for: Any) -> None:
    """What a death would take is bounded: messages that were read, and bytes that the kernel keeps (R17)."""
    with opened(acknowledge=None) as producer, ExitStack() as stack:
        clients = [stack.enter_context(closing(connect(producer))) for _ in range(8)]
        senders = [threading.Thread(target=send_all, args=(client, b"0\n" * 100_000)) for client in clients]
        for sender in senders:
            sender.start()
        offers = producer._offers
        assert offers is not None
        wait_for(lambda: offers.room == 0, DEADLINE_S)
        items = read(producer, tcp.UNTOLD_ITEMS_MAX, 1_000)
        time.sleep(0.2)  # what would be read on now has time to come
        assert producer.read(10, 0.0).items == []
        assert producer._server is not None
        ahead = sum(len(client._format._splitter) for client in producer._server.clients)  # type: ignore[attr-defined]
        assert ahead <= tcp.UNTOLD_READ_BYTES
        sizes = {client._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
                 for client in producer._server.clients}  # fmt: skip
        assert sizes == {2 * tcp.UNTOLD_KERNEL_BYTES}
        producer.acknowledge(0, len(items))
        assert len(items) + len(take_all(producer, 800_000 - len(items))) == 800_000
        for sender in senders:
            sender.join(DEADLINE_S)


def send_all(client: socket.socket, data: bytes) -> None:
    client.sendall(data)


def test_a_client_that_never_reads_is_held_back_and_then_dropped(
    wait_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers fill its own buffers, then 64 KiB of ours; it isn't read on, and after a while it is closed."""
    monkeypatch.setattr(tcp_clients, "UNREAD_MAX_S", 0.2)
    with opened(queue_items_max=100_000) as producer:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(producer.address)
        client.settimeout(0.2)
        taken = 0
        deadline = time.monotonic() + 4 * DEADLINE_S
        while not producer.counts.dropped and time.monotonic() < deadline:
            with suppress(OSError):
                client.send(b"1\n" * 5_000)
            items = len(producer.read(10_000, 0.0).items)
            if items:
                producer.acknowledge(taken, items)
                taken += items
        assert producer.counts.dropped == 1
        wait_for(lambda: producer.counts.clients == 0, DEADLINE_S)
        client.close()
        with connect(producer) as another:
            another.sendall(b"next\n")
            wait_for(lambda: "next" in producer.read(10_000, 0.1).items, DEADLINE_S)  # behind what is left of the first


def test_two_hundred_clients_at_once_are_all_answered() -> None:
    with opened(format="json") as producer:
        clients = [connect(producer) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(b"%d\n%d\n" % (number, number))
        items = read(producer, 400)
        assert sorted(items) == sorted([*range(200), *range(200)])
        producer.acknowledge(0, 400)
        for client in clients:
            assert lines(client, 2) == ["ok 1", "ok 2"]
            client.close()


def test_a_silent_client_is_closed_after_the_idle_time_unless_it_waits_for_answers(wait_for: Any) -> None:
    with opened(idle_timeout_s=0.2) as producer, connect(producer) as waiting, connect(producer) as silent:
        waiting.sendall(b"a\n")
        assert read(producer, 1) == ["a"]
        assert silent.recv(1) == b""
        wait_for(lambda: producer.counts.dropped == 1, DEADLINE_S)
        producer.acknowledge(0, 1)
        assert lines(waiting, 1) == ["ok 1"]


def test_closing_says_no_to_what_was_not_read() -> None:
    producer = TcpProducer(0)
    producer.open()
    with connect(producer) as client:
        client.sendall(b"a\nb\n")
        assert read(producer, 1) == ["a"]
        producer.fail(1, SourceError("the disk is full"))
        assert lines(client, 1) == ["error 1 the disk is full"]
        deadline = time.monotonic() + DEADLINE_S
        while producer.ready_in() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        producer.close()
        assert lines(client, 2) == ["error 2 the run has ended; send it again when it runs"]
    producer.open()  # and again
    producer.close()


def test_an_item_without_its_key_is_told_so() -> None:
    with opened(format="json", key="id") as producer, connect(producer) as client:
        client.sendall(b'{"id": 1}\n{"it": 2}\n[]\n{"id": [1]}\n')
        assert read(producer, 1) == [{"id": 1}]
        errors = sorted(lines(client, 3))
        assert errors[0] == "error 2 the item has no idempotency key: KeyError: 'id'"
        assert errors[1].startswith("error 3 the item has no idempotency key: TypeError")
        assert errors[2] == "error 4 the idempotency key is [1]; expected text or a whole number"


def test_over_tls_clients_without_a_certificate_are_not_let_in(certificate: tuple[Path, Path]) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate[0])
    tls.load_cert_chain(*certificate)
    tls.verify_mode = ssl.CERT_REQUIRED
    known = ssl.create_default_context(cafile=certificate[0])
    known.load_cert_chain(*certificate)
    stranger = ssl.create_default_context(cafile=certificate[0])
    TcpProducer(0, host="0.0.0.0", tls=tls)  # who may send is known
    with opened(tls=tls) as producer:
        with known.wrap_socket(connect(producer), server_hostname="127.0.0.1") as client:
            client.sendall(b"secret\n")
            assert read(producer, 1) == ["secret"]
            producer.acknowledge(0, 1)
            assert lines(client, 1) == ["ok 1"]
        heard = b""
        with (
            suppress(ssl.SSLError, ConnectionError),  # TLS 1.3 tells the client late, in one way or another
            stranger.wrap_socket(connect(producer), server_hostname="127.0.0.1") as client,
        ):
            client.sendall(b"intruder\n")
            heard = client.recv(1)
        assert heard == b""
        assert producer.read(10, 0.0).items == []


class Check(Node):
    def process(self, item: str) -> None:
        if item == "bad":
            message = "no good"
            raise ValueError(message)


@pytest.mark.parametrize("mode", ["single", "threads"])
def test_processed_is_said_when_the_whole_tree_is_complete_and_failed_with_the_cause(tmp_path: Path, mode: Any) -> None:
    producer = TcpProducer(0, acknowledge="processed")
    cons = Consecutor(producer | Map(str) | Check(), "tcp", journal=tmp_path / "journal", replays_max=1)
    with cons.start(mode) as running:
        deadline = time.monotonic() + DEADLINE_S
        while producer.address[1] == 0 and time.monotonic() < deadline:
            time.sleep(0.005)
        with connect(producer) as client:
            client.sendall(b"good\nbad\ngood\n")
            answers = sorted(lines(client, 3))
        report = running.drain()
    assert answers == ["failed 2 ValueError: no good at node 'check' (attempts: 2)", "ok 1", "ok 3"]
    assert (report.introduced, report.completed, report.failed) == (3, 2, 1)


def test_a_line_sent_again_under_its_key_is_acknowledged_and_not_taken_twice(tmp_path: Path) -> None:
    seen: list[Any] = []
    for _ in range(2):  # a restart in between
        producer = TcpProducer(0, format="json", key="id")
        running = Consecutor(producer | Map(seen.append), "keyed", journal=tmp_path / "journal").start()
        deadline = time.monotonic() + DEADLINE_S
        while producer.address[1] == 0 and time.monotonic() < deadline:
            time.sleep(0.005)
        with connect(producer) as client:
            client.sendall(b'{"id": "a"}\n{"id": "b"}\n{"id": "a"}\n')
            assert lines(client, 3) == ["ok 1", "ok 2", "ok 3"]
        running.drain()
    assert sorted(item["id"] for item in seen) == ["a", "b"]
