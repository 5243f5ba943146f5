"""HttpWriter to HttpProducer: one pipeline hands its items to another, and what dies in between loses nothing."""

from __future__ import annotations

import logging
import signal
import ssl
import subprocess
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Consecutor, Map
from consecution.producers import HttpProducer
from consecution.sinks import HttpWriter
from tests.e2e.kill_child import BAD
from tests.e2e.killing import last_report, start_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import WaitFor
    from tests.ports import Ports

DEADLINE_S = 60.0


def numbered(number: int) -> dict[str, int]:
    return {"n": number}


class Gate:
    """A node's function that waits until it is opened, and fails what is bad."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.is_open = threading.Event()

    def __deepcopy__(self, memo: object) -> Gate:
        return self

    def __call__(self, item: dict[str, int]) -> int:
        assert self.is_open.wait(DEADLINE_S)
        if item["n"] < 0:
            message = "no good"
            raise ValueError(message)
        self.seen.append(item["n"])
        return item["n"]


@pytest.fixture
def receive(tmp_path: Path, wait_for: WaitFor) -> Iterator[Callable[..., tuple[HttpProducer, Gate]]]:
    """``receive(pending_max=…, **options of HttpProducer)``: a pipeline that takes items, its gate closed."""
    ends: list[Callable[[], object]] = []

    def start(*, pending_max: int = 100, **options: Any) -> tuple[HttpProducer, Gate]:
        producer, gate = HttpProducer(0, **options), Gate()
        cons = Consecutor(
            producer | Map(gate), "receiver", pending_max=pending_max, replays_max=0, journal=tmp_path / "receiver"
        )
        running = cons.start("threads")
        ends.append(lambda: (gate.is_open.set(), running.drain()))
        wait_for(lambda: producer.address[1], DEADLINE_S, "it listens")
        return producer, gate

    yield start
    for end in ends:
        end()


def test_a_server_that_is_killed_and_restarted_in_the_middle_takes_each_item_once(
    tmp_path: Path, ports: Ports, wait_for: WaitFor
) -> None:
    """Who hears no yes sends again, under the item's key.

    1. A pipeline sends numbers to another one, each in a request of its own with its number as key.
    2. The receiver is killed -9 and started again; then it is ended by SIGTERM, says 503 meanwhile, and started again.
    3. The sender has completed all, and the receiver has taken each once.
    """
    port, total = ports.take(), 1_200
    sink = tmp_path / "sink"
    server = start_server("http", "single", tmp_path, port)
    writer = HttpWriter(f"http://127.0.0.1:{port}/items", format="object", idempotency_key="n", retry_s=DEADLINE_S)
    sender = Consecutor([numbered(n) for n in range(total)] | writer, "sender", journal=tmp_path / "sender")
    try:
        with sender.start("threads") as running:
            for number, sign in ((300, signal.SIGKILL), (600, signal.SIGTERM)):
                wait_for(lambda: sink.exists() and sink.read_text().count("\n") >= number, DEADLINE_S)  # noqa: B023
                server.send_signal(sign)
                server.communicate(timeout=DEADLINE_S)
                server = start_server("http", "single", tmp_path, port)
            wait_for(lambda: running.report is not None or running.progress.completed == total, DEADLINE_S)
        report = running.report
        assert report is not None
        assert (report.introduced, report.completed, report.failed) == (total, total, 0)
        server.terminate()
        introduced, completed, failed, letters = last_report(server)
    finally:
        server.kill()
        server.communicate()
    bad = list(range(0, total, BAD))
    assert (introduced, completed, failed, letters) == (total, total - len(bad), len(bad), bad)
    assert set(map(int, sink.read_text().split())) == set(range(total)) - set(bad)


def test_429_is_waited_for_and_nothing_is_taken_twice(receive: Any, wait_for: WaitFor, caplog: Any) -> None:
    producer, gate = receive(pending_max=2, queue_items_max=2, patience_s=0.05)
    writer = HttpWriter(producer.url + "/items", format="object", idempotency_key="n", retry_s=DEADLINE_S)
    sender = Consecutor([numbered(n) for n in range(12)] | writer, "sender", journal=None)
    with caplog.at_level(logging.WARNING), sender.start("threads") as running:
        wait_for(lambda: any(": 429 " in text for text in caplog.messages), DEADLINE_S, "an answer of 429")
        gate.is_open.set()
    assert running.report is not None
    assert (running.report.completed, running.report.failed) == (12, 0)
    wait_for(lambda: len(gate.seen) == 12, DEADLINE_S)
    assert gate.seen == list(range(12))


def test_a_slow_answer_is_asked_for_again_and_the_item_is_not_taken_twice(receive: Any, wait_for: WaitFor) -> None:
    """``?wait=processed`` answers when the tree is complete, which takes longer than the sender waits."""
    producer, gate = receive()
    url = producer.url + "/items?wait=processed"
    writer = HttpWriter(url, format="object", idempotency_key="n", timeout_s=0.2, retry_s=DEADLINE_S)
    sender = Consecutor([numbered(7)] | writer, "sender", journal=None)
    with sender.start("threads") as running:
        wait_for(lambda: producer.items_read >= 2, DEADLINE_S, "it is asked a second time")
        gate.is_open.set()
    assert running.report is not None
    assert running.report.completed == 1
    assert gate.seen == [7]


def test_what_fails_over_there_fails_here_with_its_cause(receive: Any) -> None:
    producer, gate = receive()
    gate.is_open.set()
    url = producer.url + "/items?wait=processed"
    writer = HttpWriter(url, format="object", idempotency_key="n", retry_s=0.3)
    report = Consecutor([numbered(-1), numbered(1)] | writer, "sender", journal=None, replays_max=1).run()
    assert (report.completed, report.failed) == (1, 1)
    cause = report.failures[0].cause
    assert cause is not None
    assert "answered 500" in cause.message
    assert "no good" in cause.message


# ---- TLS -------------------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self._openssl(
            "req", "-x509", *self._new_key("ca"), "-out", self.certificate, "-days", "2", "-subj", "/CN=authority"
        )

    def issue(self, name: str, *, host: str | None = None) -> tuple[Path, Path]:
        """Give a certificate with its key."""
        request, certificate = self.folder / f"{name}.csr", self.folder / f"{name}.pem"
        self._openssl("req", *self._new_key(name), "-out", request, "-subj", f"/CN={name}")
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=IP:{host}\n" if host else "extendedKeyUsage=clientAuth\n")
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", certificate,
        )  # fmt: skip
        return certificate, self.folder / f"{name}.key"

    def _new_key(self, name: str) -> list[str]:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        return [*curve, "-keyout", str(self.folder / f"{name}.key")]

    def _openssl(self, *arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def secret(authority: Authority) -> ssl.SSLContext:
    """What a server takes that lets in only those whom the authority vouches for."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    context.load_cert_chain(*authority.issue("server", host="127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_over_tls_each_side_knows_the_other(authority: Authority, receive: Any, wait_for: WaitFor) -> None:
    producer, gate = receive(tls=secret(authority))
    gate.is_open.set()
    certificate, key = authority.issue("sender")
    writer = HttpWriter(
        producer.url + "/items", items_max=10,
        ca_file=str(authority.certificate), certificate_file=str(certificate), key_file=str(key),
    )  # fmt: skip
    report = Consecutor([numbered(n) for n in range(100)] | writer, "sender", journal=None).run()
    assert (report.completed, report.failed) == (100, 0)
    wait_for(lambda: len(gate.seen) == 100, DEADLINE_S)
    assert Counter(gate.seen) == Counter(range(100))


def test_over_tls_strangers_are_told_why(authority: Authority, receive: Any) -> None:
    producer, gate = receive(tls=secret(authority))
    gate.is_open.set()
    began = time.monotonic()
    unknown_server = HttpWriter(producer.url + "/items", retry_s=0)
    no_certificate = HttpWriter(producer.url + "/items", retry_s=0, ca_file=str(authority.certificate))
    messages = []
    for writer in (unknown_server, no_certificate):
        report = Consecutor([numbered(1)] | writer, "sender", journal=None, replays_max=0).run()
        assert (report.completed, report.failed) == (0, 1)
        assert report.failures[0].cause is not None
        messages.append(report.failures[0].cause.message)
    assert "SSLCertVerificationError" in messages[0]
    assert "no answer: " in messages[1]
    assert gate.seen == []
    assert time.monotonic() - began < DEADLINE_S
