"""Items that come over the network: how many a second are answered as journalled, or as processed.

Rules of this module: the sender is another process, and shares the machine's cores with the run; each connection sends
its next request, or the next lines, when it was answered. What isn't answered is timed to the moment when all is
completed, which the run looks at ten times a second.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.pairs import RunError

WARM_UP = 200
LINES_A_SEND = 500
UNANSWERED_MAX = 5_000
BODY = b'{"id": %d, "customer": "c-1017", "euros": "12.50", "when": "2026-03-29T02:30:00Z"}'
DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table.

    Attributes:
        kind: "http", "tcp none", "tcp journalled" or "tcp processed".
        connections: That send at the same time.
        items: In all.
        lines: Items in a request, as JSON lines; 0 for one item.
        wait: What an HTTP request waits for.
    """

    kind: str
    connections: int
    items: int
    lines: int = 0
    wait: str = "journalled"

    @property
    def title(self) -> str:
        """For the table."""
        if self.kind == "http":
            what = f"requests of {self.lines} lines" if self.lines else "one item a request"
            return f"HttpProducer, {what}, answered when {self.wait}"
        word = self.kind.partition(" ")[2]
        return f"TcpProducer, lines, {'not answered' if word == 'none' else f'each answered when {word}'}"


CASES = (
    Case("http", 1, 1_000),
    Case("http", 8, 4_000),
    Case("http", 64, 8_000),
    Case("http", 64, 8_000, wait="processed"),
    Case("http", 8, 80_000, lines=100),
    Case("tcp none", 1, 300_000),
    Case("tcp journalled", 1, 300_000),
    Case("tcp journalled", 8, 300_000),
    Case("tcp processed", 8, 200_000),
)


class Sender:
    """One connection: has so many messages to send, and counts the answers.

    Args:
        port: Of the run.
        case: What to send.
        first: Number of its first item.
        items: How many.
    """

    def __init__(self, port: int, case: Case, first: int, items: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._case = case
        self._next = first
        self._end = first + items
        self._unsent = b""
        self._unread = b""
        self.unanswered = 0

    @property
    def is_done(self) -> bool:
        """Whether all is sent and answered."""
        is_sent = self._next >= self._end and not self._unsent
        return is_sent and (not self.unanswered or self._case.kind == "tcp none")

    @property
    def wants_to_write(self) -> bool:
        """Whether there is something to send now."""
        if self._unsent:
            return True
        if self._next >= self._end:
            return False
        if self._case.kind == "http":
            return not self.unanswered
        return self._case.kind == "tcp none" or self.unanswered < UNANSWERED_MAX

    def write(self) -> None:
        """Send what goes."""
        if not self._unsent:
            self._unsent = self._request() if self._case.kind == "http" else self._lines(LINES_A_SEND)
        self._unsent = self._unsent[self.socket.send(self._unsent) :]

    def _lines(self, count: int) -> bytes:
        count = min(count, self._end - self._next)
        lines = b"".join([BODY % number + b"\n" for number in range(self._next, self._next + count)])
        self._next += count
        self.unanswered += count
        return lines

    def _request(self) -> bytes:
        kind = b"application/x-ndjson" if self._case.lines else b"application/json"
        body = self._lines(self._case.lines or 1)
        self.unanswered = 1
        head = b"POST /items?wait=%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
        return head % (self._case.wait.encode(), kind, len(body)) + body

    def read(self) -> None:
        """Take answers."""
        data = self.socket.recv(1 << 16)
        if not data:
            message = f"the run closed a connection of {self._case}"
            raise RunError(message)
        if self._case.kind != "http":
            if b"error" in data or b"failed" in data:
                message = f"{self._case}: {data[:200]!r}"
                raise RunError(message)
            self.unanswered -= data.count(b"\n")
            return
        self._unread += data
        head, _, body = self._unread.partition(b"\r\n\r\n")
        if not body:
            return
        if not head.startswith((b"HTTP/1.1 202", b"HTTP/1.1 200")):
            message = f"{self._case}: {self._unread[:300]!r}"
            raise RunError(message)
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(body) >= length:
            self._unread = body[length:]
            self.unanswered = 0


def measure(case: Case) -> float:
    """Give the items a second of one case.

    Raises:
        RunError: An answer was no.
    """
    with tempfile.TemporaryDirectory(prefix="consecution-bench-") as folder:
        total = case.items + WARM_UP
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ingest_child", case.kind, str(Path(folder)), str(total)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        try:
            port = int(child.stdout.readline().split()[1])
            _send(port, Case(case.kind, 1, WARM_UP, wait=case.wait), 0)
            began = perf_counter()
            _send(port, case, WARM_UP)
            if case.kind == "tcp none":
                child.stdout.readline()
            took_s = perf_counter() - began
        finally:
            child.terminate()
            child.wait(30)
            child.stdout.close()
    return case.items / took_s


def _send(port: int, case: Case, first: int) -> None:
    share = case.items // case.connections
    senders = [Sender(port, case, first + number * share, share) for number in range(case.connections)]
    selector = selectors.DefaultSelector()
    try:
        for sender in senders:
            selector.register(sender.socket, selectors.EVENT_WRITE, sender)
        open_ = set(senders)
        deadline = perf_counter() + DEADLINE_S
        while open_:
            for key, events in selector.select(1.0):
                sender = key.data
                if events & selectors.EVENT_READ:
                    sender.read()
                if events & selectors.EVENT_WRITE and sender.wants_to_write:
                    sender.write()
                if sender.is_done:
                    open_.discard(sender)
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if sender.wants_to_write else 0)
                selector.modify(sender.socket, wanted, sender)
            if perf_counter() > deadline:
                message = f"{case} took more than {DEADLINE_S:.0f} s"
                raise RunError(message)
    finally:
        selector.close()
        for sender in senders:
            sender.socket.close()


def table(rounds: int, share: int) -> list[str]:
    """Measure all cases some times, and give the lines of the table: the median, and the least and the most."""
    lines = ["| ingest | connections | items/s | least | most |", "|---|---:|---:|---:|---:|"]
    for case in CASES:
        smaller = Case(case.kind, case.connections, case.items // share, case.lines, case.wait)
        speeds = sorted(measure(smaller) for _ in range(rounds))
        median = speeds[len(speeds) // 2]
        lines.append(f"| {case.title} | {case.connections} | {median:,.0f} | {speeds[0]:,.0f} | {speeds[-1]:,.0f} |")
    return lines
