"""Items over HTTP: each status, as a sender meets it; and what is promised by each."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Consecutor, Map, Producer
from consecution.errors import GraphError, SourceError
from consecution.producers import HttpProducer, SourceClass, http_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE_S = 30.0
TOKEN = "a-token-of-24-characters"
JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read().decode()

    @property
    def body(self) -> Any:
        return json.loads(self.text)


def ask(
    producer: HttpProducer, verb: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Answer:
    client = http.client.HTTPConnection(*producer.address, timeout=DEADLINE_S)
    try:
        client.request(verb, path, body, headers or {})
        return Answer(client.getresponse())
    finally:
        client.close()


def post(producer: HttpProducer, body: Any, path: str = "/items", headers: dict[str, str] | None = None) -> Answer:
    return ask(producer, "POST", path, body, headers or JSON)


class Gate:
    """A node's function that waits until it is opened, and fails what is bad."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.is_open = threading.Event()
        self.is_open.set()

    def __deepcopy__(self, memo: object) -> Gate:
        return self

    def __call__(self, item: Any) -> Any:
        assert self.is_open.wait(DEADLINE_S)
        if item == "bad":
            message = "no good"
            raise ValueError(message)
        self.seen.append(item)
        return item


class Served:
    """A run with an HttpProducer."""

    def __init__(self, producer: HttpProducer, gate: Gate, running: Any) -> None:
        self.producer = producer
        self.gate = gate
        self.running = running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """``serve(pending_max=…, journal=…, **options of HttpProducer)``: a run on a free port; drained at the end."""
    started: list[Served] = []

    def start(*, pending_max: int = 100, journal: bool = True, **options: Any) -> Served:
        producer, gate = HttpProducer(0, **options), Gate()
        cons = Consecutor(
            producer | Map(gate, name="gate"), "http", pending_max=pending_max, replays_max=1,
            journal=tmp_path / "journal" if journal else None,
        )  # fmt: skip
        running = cons.start("threads")
        end = time.monotonic() + DEADLINE_S
        while not is_answering(producer):
            assert time.monotonic() < end
        started.append(Served(producer, gate, running))
        return started[-1]

    yield start
    for one in started:
        one.gate.is_open.set()
        one.running.drain()


def is_answering(producer: HttpProducer) -> bool:
    try:
        return producer.address[1] != 0 and ask(producer, "GET", "/health").status == 200
    except OSError:
        return False


# ---- what is right ---------------------------------------------------------------------------------------------------


def test_an_item_is_202_with_a_receipt_that_tells_its_outcome(serve: Any, wait_for: Any) -> None:
    one = serve()
    one.gate.is_open.clear()
    answer = post(one.producer, '{"n": 1}')
    assert (answer.status, answer.body) == (202, {"state": "open", "receipt": "/receipts/0"})
    assert answer.headers["location"] == "/receipts/0"
    assert ask(one.producer, "GET", "/receipts/0").body == {"state": "open", "receipt": "/receipts/0"}
    one.gate.is_open.set()
    wait_for(lambda: ask(one.producer, "GET", "/receipts/0").body["state"] == "completed", DEADLINE_S)
    assert one.gate.seen == [{"n": 1}]


def test_processed_is_200_only_when_the_tree_is_complete_and_500_with_the_cause_otherwise(serve: Any) -> None:
    one = serve()
    good = post(one.producer, "[1, 2]", "/items?wait=processed")
    assert (good.status, good.body) == (200, {"state": "completed", "receipt": "/receipts/0"})
    assert one.gate.seen == [[1, 2]]
    bad = post(one.producer, '"bad"', "/items?wait=processed")
    assert bad.status == 500
    assert bad.body["cause"] == {"node": "gate", "exception": "ValueError", "message": "no good"}
    assert (bad.body["attempts"], bad.body["receipt"]) == (2, "/receipts/1")
    receipt = ask(one.producer, "GET", "/receipts/1").body
    assert (receipt["state"], receipt["cause"]["message"]) == ("failed", "no good")


def test_what_is_not_processed_in_time_is_202_and_still_open(serve: Any) -> None:
    one = serve()
    one.gate.is_open.clear()
    answer = post(one.producer, "1", "/items?wait=processed&timeout_s=0.05")
    assert (answer.status, answer.body["state"]) == (202, "open")


def test_json_lines_are_one_item_each_and_a_failed_one_is_named(serve: Any) -> None:
    one = serve()
    answer = post(one.producer, '1\n\n"bad"\r\n3', "/items?wait=processed", LINES)
    assert answer.status == 500
    assert answer.body["receipts"] == ["/receipts/0", "/receipts/1", "/receipts/2"]
    assert [failure["receipt"] for failure in answer.body["failures"]] == ["/receipts/1"]
    assert sorted(one.gate.seen) == [1, 3]


def test_a_repeated_key_is_the_same_item_over_a_restart_too(serve: Any) -> None:
    one = serve()
    first = post(one.producer, "1", "/items?wait=processed", {**JSON, "Idempotency-Key": "k"})
    again = post(one.producer, "1", "/items", {**JSON, "Idempotency-Key": "k"})
    lines = post(one.producer, "1\n2\n", "/items", {**LINES, "Idempotency-Key": "l"})
    one.running.drain()
    two = serve()
    later = post(two.producer, "1", "/items?wait=processed", {**JSON, "Idempotency-Key": "k"})
    more = post(two.producer, "1\n2\n3\n", "/items?wait=processed", {**LINES, "Idempotency-Key": "l"})
    assert first.body["receipt"] == again.body["receipt"] == later.body["receipt"]
    assert (again.status, later.status, more.status) == (202, 200, 200)
    assert more.body["receipts"][:2] == lines.body["receipts"]
    assert one.gate.seen == [1, 1, 2]
    assert two.gate.seen == [3]


def test_a_field_can_be_the_key(serve: Any) -> None:
    one = serve(key="id")
    receipts = [post(one.producer, '{"id": "a"}').body["receipt"] for _ in range(2)]
    assert receipts == ["/receipts/0", "/receipts/0"]
    answer = post(one.producer, "[]")
    assert answer.status == 422
    assert "no idempotency key" in answer.body["error"]


# ---- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "error"),
    [
        ("/items?wait=never", JSON, "1", 400, "expected 'journalled' or 'processed'"),
        ("/items?wait=processed&timeout_s=x", JSON, "1", 400, "expected seconds"),
        ("/items?wait=processed&timeout_s=nan", JSON, "1", 400, "expected seconds"),
        ("/items", {**JSON, "Idempotency-Key": "x" * 201}, "1", 400, "1 to 200 printable"),
        ("/items", {**JSON, "Host": "evil.example"}, "1", 403, "without a token only this machine"),
        ("/items", JSON, "1" * 101, 413, "larger than 100 bytes"),
        ("/items", LINES, "1\n2\n3\n4\n", 413, "a request may hold 3"),
        ("/items", {"Content-Type": "text/plain"}, "1", 415, "expected application/json"),
        ("/items", JSON, "", 422, "no JSON at line 1, column 1"),
        ("/items", JSON, '{"a": 1,\n "b": }', 422, "no JSON at line 2, column 7"),
        ("/items", JSON, b"1,\n \xff", 422, "no JSON at line 2, column 2"),
        ("/items", LINES, "\n\n", 422, "holds no item"),
        ("/items", LINES, "1\n2 3\n", 422, "no JSON at line 2, column 3"),
        ("/nowhere", JSON, "1", 404, "GET / says what there is"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place_and_nothing_is_taken(
    serve: Any, path: str, headers: dict[str, str], body: Any, status: int, error: str
) -> None:
    one = serve(body_bytes_max=100, queue_items_max=3)
    answer = post(one.producer, body, path, headers)
    assert (answer.status, error in answer.body["error"]) == (status, True), answer.text
    if status == 422:
        assert answer.body["line"] >= 1
    assert ask(one.producer, "GET", "/receipts/0").status == 404
    assert one.producer.counts.by_status[status] >= 1


def test_a_body_without_a_length_is_bounded_too(serve: Any) -> None:
    one = serve(body_bytes_max=100)
    client = http.client.HTTPConnection(*one.producer.address, timeout=DEADLINE_S)
    client.request("POST", "/items", iter([b"1" * 60, b"1" * 60]), JSON, encode_chunked=True)
    assert client.getresponse().status == 413
    client.close()


def test_what_is_not_installed_is_told_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HttpProducer(0).obstacle() is None
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert HttpProducer(0).obstacle() == "uvicorn isn't installed: pip install 'consecution[http]'"


def test_without_the_token_it_is_401_and_with_it_202(serve: Any) -> None:
    one = serve(token=[TOKEN, "another-token-of-31-characters"])
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"},
                    {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": "Bearer \xe9"}):  # fmt: skip
        answer = post(one.producer, "1", "/items", {**JSON, **headers})
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert ask(one.producer, "GET", "/receipts/0", None, headers).status == 401
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert post(one.producer, "1", "/items", {**JSON, **right, "Host": "anything.example"}).status == 202
    assert ask(one.producer, "GET", "/receipts/0", None, right).status == 200
    assert ask(one.producer, "GET", "/health").status == 200


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"port": -1}, "expected a port"),
        ({"port": 0, "token": "short"}, "at least 16 ASCII characters"),
        ({"port": 0, "token": []}, "one or more tokens"),
        ({"port": 0, "token": 5}, "one or more tokens"),
        ({"port": 0, "tls": "server.pem"}, "expected an ssl.SSLContext"),
        ({"port": 0, "host": "0.0.0.0"}, "insecure=True"),
        ({"port": 0, "body_bytes_max": 0}, "above 0"),
    ],
)
def test_wrong_arguments_are_refused_with_the_cure(options: dict[str, Any], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        HttpProducer(**options)
    HttpProducer(0, "0.0.0.0", token=TOKEN)
    HttpProducer(0, "0.0.0.0", insecure=True)
    assert isinstance(Producer(kind="http", port=0), HttpProducer)
    assert HttpProducer(0).source is SourceClass.HANDED_OVER


def test_without_its_packages_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['uvicorn'] = None; sys.modules['starlette'] = None\n"
    code += "from consecution.producers import HttpProducer; HttpProducer(0).open()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'consecution[http]'" in done.stderr.splitlines()[-1]


# ---- back pressure and ends ------------------------------------------------------------------------------------------


def test_a_full_pipeline_is_429_with_a_time_to_come_back_and_goes_on_later(serve: Any) -> None:
    one = serve(pending_max=2, queue_items_max=2, patience_s=0.1)
    one.gate.is_open.clear()
    statuses = []
    while not statuses or statuses[-1] == 202:
        answer = post(one.producer, str(len(statuses)))
        statuses.append(answer.status)
        assert len(statuses) < 50
    assert (statuses[-1], answer.headers["retry-after"]) == (429, "1")
    assert "slower than its senders" in answer.body["error"]
    assert answer.body["taken"] == 0
    one.gate.is_open.set()
    last = post(one.producer, '"last"', "/items?wait=processed")
    while last.status == 429:
        last = post(one.producer, '"last"', "/items?wait=processed")
    assert last.status == 200
    assert one.gate.seen == [*range(len(statuses) - 1), "last"]  # what heard 429 was not taken


def test_a_full_queue_is_429_at_once() -> None:
    producer = HttpProducer(0, queue_items_max=1, patience_s=DEADLINE_S)
    producer.open()
    first = threading.Thread(target=post, args=(producer, "1"))
    first.start()
    end = time.monotonic() + DEADLINE_S
    while producer.ready_in() is None and time.monotonic() < end:
        time.sleep(0.001)
    assert post(producer, "2").status == 429
    assert producer.read(10, 1.0).items == [1]
    producer.acknowledge(0, 1)
    first.join(DEADLINE_S)
    producer.close()


def test_while_it_drains_it_is_503_to_new_requests_and_to_those_that_wait(serve: Any, wait_for: Any) -> None:
    """Who is in work hears of its outcome.

    1. One item is in work, one waits for room. 2. Drain. 3. The waiting one and a new one hear 503, the first 200.
    """
    one = serve(pending_max=1, patience_s=DEADLINE_S)
    one.gate.is_open.clear()
    answers: dict[str, Answer] = {}

    def send(name: str, path: str) -> threading.Thread:
        thread = threading.Thread(target=lambda: answers.update({name: post(one.producer, f'"{name}"', path)}))
        thread.start()
        return thread

    threads = [send("first", "/items?wait=processed")]
    wait_for(lambda: ask(one.producer, "GET", "/receipts/0").status == 200, DEADLINE_S)
    threads.append(send("second", "/items"))
    wait_for(lambda: one.producer.ready_in() == 0.0, DEADLINE_S)
    drain = threading.Thread(target=one.running.drain)
    drain.start()
    wait_for(lambda: "second" in answers, DEADLINE_S)
    assert answers["second"].status == 503
    assert "retry-after" in answers["second"].headers
    assert post(one.producer, "3").status == 503
    assert ask(one.producer, "GET", "/health").status == 503
    one.gate.is_open.set()
    for thread in (*threads, drain):
        thread.join(DEADLINE_S)
    assert answers["first"].status == 200
    assert one.gate.seen == ["first"]


def test_what_the_journal_never_takes_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_service, "JOURNAL_S", 0.1)
    producer = HttpProducer(0, patience_s=0.1)
    producer.open()
    answers: list[Answer] = []
    sender = threading.Thread(target=lambda: answers.append(post(producer, "1")))
    sender.start()
    assert producer.read(1, DEADLINE_S).items == [1]  # taken into work, and then the disk is full
    sender.join(DEADLINE_S)
    assert answers[0].status == 503
    assert "not journalled in time" in answers[0].body["error"]
    producer.fail(1, SourceError("no"))  # too late for that request, and no harm
    producer.close()


def test_stopping_answers_who_waits_for_outcomes_with_202(serve: Any, wait_for: Any) -> None:
    one = serve()
    one.gate.is_open.clear()
    answers: list[Answer] = []
    sender = threading.Thread(target=lambda: answers.append(post(one.producer, "1", "/items?wait=processed")))
    sender.start()
    wait_for(lambda: ask(one.producer, "GET", "/receipts/0").status == 200, DEADLINE_S)
    stop = threading.Thread(target=one.running.stop)
    stop.start()
    sender.join(DEADLINE_S)
    assert (answers[0].status, answers[0].body["state"]) == (202, "open")
    one.gate.is_open.set()
    stop.join(DEADLINE_S)


def test_without_a_journal_a_finished_item_is_forgotten(serve: Any) -> None:
    one = serve(journal=False)
    assert post(one.producer, "1", "/items?wait=processed").status == 200
    answer = ask(one.producer, "GET", "/receipts/0")
    assert (answer.status, "keeps no journal" in answer.body["error"]) == (404, True)


def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    from consecution.producers import http_server

    monkeypatch.setattr(http_server, "HEADERS_S", 0.1)
    producer = HttpProducer(0)
    producer.open()
    with socket.create_connection(producer.address, DEADLINE_S) as silent:
        silent.settimeout(DEADLINE_S)
        assert silent.recv(1) == b""
    with socket.create_connection(producer.address, DEADLINE_S) as slow:
        slow.settimeout(DEADLINE_S)
        slow.sendall(b"POST /items HTTP/1.1\r\nHost: 127.0.0.1\r\nX-")
        assert slow.recv(1) == b""
    producer.close()


def test_a_body_that_does_not_come_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_service, "BODY_S", 0.1)
    producer = HttpProducer(0)
    producer.open()
    client = http.client.HTTPConnection(*producer.address, timeout=DEADLINE_S)
    client.putrequest("POST", "/items")
    for name, value in {**JSON, "Content-Length": "10"}.items():
        client.putheader(name, value)
    client.endheaders(b"[1,")
    answer = Answer(client.getresponse())
    assert (answer.status, answer.body["error"]) == (408, "the body didn't come within 0.1 s")
    client.close()
    producer.close()


def test_one_connection_too_many_is_503_and_another_may_come_later(wait_for: Any) -> None:
    producer = HttpProducer(0, clients_max=2)
    producer.open()
    with connected(producer, 2) as clients:
        for client in clients:
            client.request("GET", "/health")
            assert Answer(client.getresponse()).status == 200  # and stays connected
        assert ask(producer, "GET", "/health").status == 503
    wait_for(lambda: ask(producer, "GET", "/health").status == 200, DEADLINE_S)
    producer.close()


def test_over_tls(certificate: tuple[Path, Path]) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    producer = HttpProducer(0, tls=tls)
    producer.open()
    assert producer.url.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=certificate[0])
    client = http.client.HTTPSConnection(*producer.address, timeout=DEADLINE_S, context=context)
    client.request("GET", "/health")
    assert Answer(client.getresponse()).status == 200
    client.close()
    producer.close()


def test_the_page_and_openapi_name_what_there_is(serve: Any) -> None:
    one = serve(token=TOKEN, name="orders")
    document = ask(one.producer, "GET", "/openapi.json").body
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {"/items", "/receipts/{seq}", "/health"}
    statuses = {"200", "202", "400", "401", "403", "408", "413", "415", "422", "429", "500", "503"}
    assert set(document["paths"]["/items"]["post"]["responses"]) == statuses
    page = ask(one.producer, "GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "Producer orders" in page.text
    assert "POST /items" in page.text


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_hands_an_item_over(serve: Any) -> None:
    one = serve()
    command = ["curl", "-sS", "-X", "POST", "-H", "Content-Type: application/json", "-d", '{"n": 1}']
    done = subprocess.run([*command, f"{one.producer.url}/items"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"state": "open", "receipt": "/receipts/0"}


def curl(producer: HttpProducer, path: str, body: str, *headers: str, kind: str = "application/json") -> Any:
    """What curl prints: (status, Retry-After, body)."""
    command = ["curl", "-sS", "-X", "POST", "-H", f"Content-Type: {kind}", "--data-binary", body, "-m", str(DEADLINE_S)]
    command += [word for header in headers for word in ("-H", header)]
    command += ["-w", "\n%{http_code} %header{retry-after}", f"{producer.url}{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text, _, last = done.stdout.rpartition("\n")
    status, _, wait = last.partition(" ")
    return int(status), wait, json.loads(text)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_meets_each_status(serve: Any, wait_for: Any) -> None:
    """A sender sees 202, 200, 500, 413, 422 with the place, 401, 429 and 503, in this order."""
    one = serve(token=TOKEN, body_bytes_max=50, pending_max=2, queue_items_max=2, patience_s=0.05)
    token = f"Authorization: Bearer {TOKEN}"
    assert curl(one.producer, "/items", "1", token)[0] == 202
    assert curl(one.producer, "/items?wait=processed", "2", token)[0] == 200
    status, _, body = curl(one.producer, "/items?wait=processed", '"bad"', token)
    assert (status, body["cause"]["node"], body["cause"]["message"]) == (500, "gate", "no good")
    assert curl(one.producer, "/items", "1" * 51, token)[0] == 413
    status, _, body = curl(one.producer, "/items", "1\n2 3\n", token, kind="application/x-ndjson")
    assert (status, body["line"], body["column"]) == (422, 2, 3)
    assert curl(one.producer, "/items", "3")[0] == 401
    one.gate.is_open.clear()
    answers = [curl(one.producer, "/items", "4", token)]
    while answers[-1][0] == 202:
        answers.append(curl(one.producer, "/items", "4", token))
    assert answers[-1][:2] == (429, "1")
    drain = threading.Thread(target=one.running.drain)
    drain.start()
    wait_for(lambda: ask(one.producer, "GET", "/health").status == 503, DEADLINE_S)
    status, wait, _ = curl(one.producer, "/items", "5", token)
    assert (status, wait != "") == (503, True)
    one.gate.is_open.set()
    drain.join(DEADLINE_S)


@contextmanager
def connected(producer: HttpProducer, count: int) -> Iterator[list[http.client.HTTPConnection]]:
    clients = [http.client.HTTPConnection(*producer.address, timeout=DEADLINE_S) for _ in range(count)]
    yield clients
    for client in clients:
        client.close()


def test_two_hundred_senders_at_once_each_hear_of_their_own_item(serve: Any) -> None:
    one = serve(pending_max=1_000)
    with connected(one.producer, 200) as clients:
        for number, client in enumerate(clients):
            client.request("POST", "/items?wait=processed", str(number), JSON)
        answers = [Answer(client.getresponse()) for client in clients]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["receipt"] for answer in answers}) == 200
    assert sorted(one.gate.seen) == list(range(200))
