"""HttpWriter against a real server on loopback that answers as it is told."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Consecutor
from consecution.errors import GraphError
from consecution.sinks import HttpWriter, SinkError
from consecution.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.ports import Ports


class Server:
    """What arrived, and what is answered: ``(status, headers)`` for a request's number and items.

    A status of 0 closes the connection without an answer, after the items were noted.
    """

    def __init__(self, answer: Callable[[int, list[Any]], tuple[int, dict[str, str]]]) -> None:
        self.answer = answer
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.taken: list[Any] = []
        self.connections = 0
        self.lock = threading.Lock()
        self.url = ""


def items_of(body: bytes) -> list[Any]:
    text = body.decode()
    if text.startswith("["):
        items: list[Any] = json.loads(text)
        return items
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def serving(answer: Callable[[int, list[Any]], tuple[int, dict[str, str]]], port: int = 0) -> Iterator[Server]:
    server = Server(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            server.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            items = items_of(body)
            with server.lock:
                server.requests.append((self.path, dict(self.headers), body))
                status, headers = server.answer(len(server.requests), items)
                if 200 <= status < 300:
                    server.taken += items
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            text = b"" if status == 204 else f"said {status}".encode()
            if status != 204:
                self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_PUT = do_POST

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing is printed."""

    http_server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    http_server.daemon_threads = False
    server.url = f"http://127.0.0.1:{http_server.server_address[1]}/items"
    thread = threading.Thread(target=lambda: http_server.serve_forever(0.01))
    thread.start()
    try:
        yield server
    finally:
        http_server.shutdown()
        thread.join()
        http_server.server_close()


class Runtime:
    """What a stage runner binds, as far as a sink needs it."""

    def __init__(self) -> None:
        self.fails: dict[int, BaseException] = {}

    def push(self, item: Any, output: str, of: Any) -> None:
        raise AssertionError(item)

    def hold(self) -> Any:
        raise AssertionError

    def release(self, tokens: Iterable[Any]) -> None:
        raise AssertionError

    def fail(self, index: int, error: BaseException) -> None:
        self.fails[index] = error

    def now(self) -> float:
        raise AssertionError


def write(writer: HttpWriter, *frames: list[Any]) -> dict[int, str]:
    """Write frames; gives what failed of the last one."""
    for frame in frames:
        runtime = Runtime()
        writer._slot.runtime = runtime
        writer.setup()
        try:
            writer.process_batch(frame)
        finally:
            writer.teardown()
    return {index: str(error) for index, error in runtime.fails.items()}


def always(status: int, **headers: str) -> Callable[[int, list[Any]], tuple[int, dict[str, str]]]:
    return lambda number, items: (status, headers)


def test_a_frame_goes_in_requests_over_one_connection() -> None:
    with serving(always(204)) as server:
        writer = HttpWriter(server.url + "?table=a", items_max=2, headers={"Authorization": "Bearer secret"})
        assert write(writer, [{"n": n, "text": "a\nb"} for n in range(5)]) == {}
    assert [item["n"] for item in server.taken] == [0, 1, 2, 3, 4]
    assert [len(items_of(body)) for _, _, body in server.requests] == [2, 2, 1]
    path, headers, _ = server.requests[0]
    assert path == "/items?table=a"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["Authorization"] == "Bearer secret"
    assert server.connections == 1


def test_arrays_and_single_objects() -> None:
    with serving(always(200)) as server:
        assert write(HttpWriter(server.url, format="json"), [{"n": 1}, "a\nb"]) == {}
        assert (
            write(HttpWriter(server.url, format="object", method="PUT", idempotency_key="n"), [{"n": 7}, {"n": 8}])
            == {}
        )
        writer = HttpWriter(server.url, format="object", idempotency_key=lambda item: f"x-{item}")
        assert write(writer, [3]) == {}
    assert [body for _, _, body in server.requests] == [b'[{"n":1},"a\\nb"]', b'{"n":7}', b'{"n":8}', b"3"]
    assert [headers.get("Idempotency-Key") for _, headers, _ in server.requests] == [None, "7", "8", "x-3"]


def test_a_refused_request_is_sent_item_by_item_and_only_the_bad_one_fails() -> None:
    def answer(number: int, items: list[Any]) -> tuple[int, dict[str, str]]:
        return (422 if "bad" in items else 200), {}

    with serving(answer) as server:
        fails = write(HttpWriter(server.url, items_max=4), ["a", "b", "bad", "c", "d", "bad"])
    assert sorted(server.taken) == ["a", "b", "c", "d"]
    assert sorted(fails) == [2, 5]
    assert fails[2].endswith(
        "/items answered 422 Unprocessable Entity said 422; the item is not what the server expects"
    )


@pytest.mark.parametrize("status", [500, 503, 429, 408, 0])
def test_what_passes_is_tried_again_with_growing_waits(status: int) -> None:
    clock = ManualClock()
    with serving(lambda number, items: (status if number <= 6 else 200, {})) as server:
        assert write(HttpWriter(server.url, clock=clock), ["a", "b"]) == {}
    assert server.taken == ["a", "b"]
    assert clock.monotonic() == pytest.approx(0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2)


def test_retry_after_is_followed() -> None:
    clock = ManualClock()
    with serving(lambda number, items: (503 if number == 1 else 200, {"Retry-After": "20"})) as server:
        assert write(HttpWriter(server.url, clock=clock), ["a"]) == {}
    assert clock.monotonic() == 20.0
    with serving(always(503, **{"Retry-After": "3600"})) as server:
        fails = write(HttpWriter(server.url, clock=clock), ["a"])  # longer than its patience: not waited for at all
    assert clock.monotonic() == 20.0
    assert fails[0].endswith("answered 503 Service Unavailable said 503")


def test_when_patience_ends_all_that_is_left_of_the_frame_fails_at_once() -> None:
    clock = ManualClock()

    def answer(number: int, items: list[Any]) -> tuple[int, dict[str, str]]:
        return (200 if "a" in items else 500), {}

    with serving(answer) as server:
        fails = write(HttpWriter(server.url, items_max=2, retry_s=10.0, clock=clock), ["a", "b", "c", "d", "e", "f"])
    assert server.taken == ["a", "b"]
    assert sorted(fails) == [2, 3, 4, 5]
    assert clock.monotonic() == pytest.approx(10.0)
    assert {tuple(items_of(body)) for _, _, body in server.requests} == {("a", "b"), ("c", "d")}


def test_nobody_there_and_then_there(ports: Ports) -> None:
    port = ports.take()
    fails = write(HttpWriter(f"http://127.0.0.1:{port}/", retry_s=0), ["a"])
    assert "no answer: ConnectionRefusedError" in fails[0]

    class Starting(ManualClock):
        """Starts the server during the third wait."""

        waits = 0

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            self.waits += 1
            if self.waits == 3:
                started.set()
                is_up.wait(10)

    started, is_up, is_done = threading.Event(), threading.Event(), threading.Event()
    taken: list[Any] = []

    def run() -> None:
        started.wait(10)
        with serving(always(200), port) as server:
            is_up.set()
            is_done.wait(10)
            taken.extend(server.taken)

    thread = threading.Thread(target=run)
    thread.start()
    assert write(HttpWriter(f"http://127.0.0.1:{port}/", clock=Starting()), ["a"]) == {}
    is_done.set()
    thread.join()
    assert taken == ["a"]


def test_a_connection_that_the_server_closed_in_between_is_no_outage() -> None:
    clock = ManualClock()
    with serving(lambda number, items: (200, {"Connection": "close"} if number == 1 else {})) as server:
        writer = HttpWriter(server.url, clock=clock)
        writer._slot.runtime = Runtime()
        writer.setup()
        writer.process_batch(["a"])
        writer.process_batch(["b"])
        server.answer = lambda number, items: (0 if number == 3 else 200, {})
        writer.process_batch(["c"])  # the kept connection breaks under it
        writer.teardown()
    assert server.taken == ["a", "b", "c"]
    assert clock.monotonic() == 0.0


def test_an_item_that_is_no_json_fails_before_anything_is_sent() -> None:
    with serving(always(200)) as server:
        with pytest.raises(TypeError, match="which JSON has not"):
            write(HttpWriter(server.url, items_max=1), ["a", {1, 2}])
        with pytest.raises(ValueError, match="expected printable ASCII"):
            write(HttpWriter(server.url, format="object", idempotency_key="n"), [{"n": 1}, {"n": "a\nb"}])
    assert server.requests == []


def test_redirects_are_not_followed() -> None:
    with serving(always(302, Location="http://127.0.0.1:1/")) as server:
        fails = write(HttpWriter(server.url), ["a"])
    assert "answered 302 Found" in fails[0]


@pytest.mark.parametrize("mode", ["single", "threads"])
def test_a_bad_item_becomes_a_dead_letter_alone(mode: Any) -> None:
    def answer(number: int, items: list[Any]) -> tuple[int, dict[str, str]]:
        return (400 if 13 in items else 200), {}

    with serving(answer) as server:
        flow = list(range(100)) | HttpWriter(server.url, grouping="shuffle")
        report = Consecutor(flow, "http", journal=None, replays_max=1).run(mode)
    assert sorted(set(server.taken)) == [number for number in range(100) if number != 13]
    assert report.completed == 99
    assert [failure.item for failure in report.failures] == [13]
    assert report.failures[0].cause is not None
    assert "answered 400 Bad Request" in report.failures[0].cause.message


@pytest.mark.parametrize(
    "url",
    ["", "host", "ftp://host/", "http://", "http://host:x/", "http://h/a b", "http://é/", 5, "http://me:pw@host/"],
)
def test_addresses_that_mean_nothing_are_refused(url: Any) -> None:
    with pytest.raises(GraphError, match=r"HttpWriter.*(expected an address|say headers=)") as caught:
        HttpWriter(url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"format": "xml"},
        {"method": "GET"},
        {"items_max": 0},
        {"timeout_s": 0},
        {"retry_s": -1},
        {"idempotency_key": "n"},
        {"ca_file": "ca.pem"},
        {"certificate_file": "me.pem"},
        {"headers": "X-Shop: north"},
        {"headers": ["X-Shop"]},
    ],
)
def test_arguments_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match=r"HttpWriter: http://host/.*(expected|say format=)"):
        HttpWriter("http://host/?token=secret", **options)


def test_certificates_that_are_none_are_an_error_at_setup(tmp_path: Any) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(SinkError, match=r"can't be read: .*; expected certificates as PEM"):
        HttpWriter("https://localhost/", ca_file=str(tmp_path / "ca.pem")).setup()
    with pytest.raises(SinkError, match=r"certificate_file=.* can't be used: .*; expected a certificate and its key"):
        HttpWriter("https://localhost/", certificate_file=str(tmp_path / "ca.pem")).setup()
    with pytest.raises(GraphError, match=r"expected certificate_file= too"):
        HttpWriter("https://localhost/", key_file="me.key")


def test_a_server_that_is_not_there_is_named_with_its_port(ports: Ports) -> None:
    port = ports.take()
    report = Consecutor(
        [1] | HttpWriter(f"http://127.0.0.1:{port}/items", retry_s=0), "x", journal=None, replays_max=0
    ).run()
    (failure,) = report.failures
    assert f"HttpWriter: http://127.0.0.1:{port}/items gave no answer: ConnectionRefusedError" in str(failure)
