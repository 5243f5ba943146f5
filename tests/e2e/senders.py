"""Senders that never give up: each number is sent, under a key, until it is acknowledged."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TIMEOUT_S = 10.0
AGAIN_S = 0.02
WINDOW = 200
SHOUTER_LINE_BYTES = 200
SHOUTER_KERNEL_BYTES = 16 << 10


class Sender:
    """Sends numbers from some threads.

    Args:
        kind: "http", "tcp" or "tcp-processed".
        port: On this machine.
        total: Numbers 0 … total - 1.
        threads: How many connections.

    Attributes:
        acknowledged: Numbers that were answered with yes.
        allowed: Only numbers below it are sent; raised by the test, so that there is always something to send.
    """

    def __init__(self, kind: str, port: int, total: int, threads: int = 4) -> None:
        self._port = port
        self.acknowledged: set[int] = set()
        self.allowed = 0
        self._is_over = threading.Event()
        target = self._post if kind == "http" else self._send
        shares = [list(range(total))[number::threads] for number in range(threads)]
        self._threads = [threading.Thread(target=target, args=(share,), daemon=True) for share in shares]
        for thread in self._threads:
            thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait until all is acknowledged; False when it isn't in time. Then it gives up."""
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        is_done = not any(thread.is_alive() for thread in self._threads)
        self._is_over.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT_S)
        return is_done

    def _post(self, numbers: Sequence[int]) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        for number in numbers:
            while not self._is_over.is_set():
                if number >= self.allowed:
                    time.sleep(AGAIN_S)
                    continue
                headers = {"Content-Type": "application/json", "Idempotency-Key": str(number)}
                try:
                    client.request("POST", "/items", json.dumps({"n": number}), headers)
                    response = client.getresponse()
                    response.read()
                except (OSError, http.client.HTTPException):
                    client.close()
                    time.sleep(AGAIN_S)
                    continue
                if response.status == 202:
                    self.acknowledged.add(number)
                    break
                time.sleep(AGAIN_S)  # 429, 503
        client.close()

    def _send(self, numbers: Sequence[int]) -> None:
        left = list(numbers)
        while left and not self._is_over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), TIMEOUT_S) as client:
                    left = self._converse(client, left)
            except OSError:
                time.sleep(AGAIN_S)

    def _converse(self, client: socket.socket, numbers: list[int]) -> list[int]:
        """Send with at most a window unanswered; gives those that were not answered when the connection ended."""
        answers = client.makefile("r")
        sent = 0
        open_ = dict[int, int]()  # number of the line to what it held
        try:
            while (sent < len(numbers) or open_) and not self._is_over.is_set():
                if len(open_) < WINDOW:
                    some = [one for one in numbers[sent : sent + WINDOW - len(open_)] if one < self.allowed]
                    for number in some:
                        sent += 1
                        open_[sent] = number
                    client.sendall("".join(f'{{"n": {number}}}\n' for number in some).encode())
                if not open_:
                    time.sleep(AGAIN_S)
                    continue
                line = answers.readline()
                if not line.endswith("\n"):
                    break
                word, place, *_ = line.split()
                number = open_.pop(int(place))
                if word in ("ok", "failed"):
                    self.acknowledged.add(number)
        except OSError:
            pass
        finally:
            answers.close()
        return [number for number in numbers if number not in self.acknowledged]


class Rows:
    """A table that a `CursorProducer` follows; as a `Sender`, it has as many numbers as are allowed."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / "rows.db"
        self._count = 0
        with contextlib.closing(sqlite3.connect(self._database, timeout=30)) as database:
            database.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")

    @property
    def allowed(self) -> int:
        """Numbers below it are in the table."""
        return self._count

    @allowed.setter
    def allowed(self, count: int) -> None:
        with contextlib.closing(sqlite3.connect(self._database, timeout=30)) as database, database:
            database.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(self._count, count)])
        self._count = count

    def join(self, timeout_s: float) -> bool:
        """All that is in the table is handed over."""
        return True


class Shouter:
    """Sends numbers that nobody answers, each once, as fast as they are taken; after a cut it goes on with the next.

    Args:
        port: On this machine.

    Attributes:
        sent: Numbers 0 … sent - 1 were given to the kernel; it keeps little of them (`SHOUTER_KERNEL_BYTES`).
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.sent = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._shout, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._is_over.set()
        self._thread.join(2 * TIMEOUT_S)

    def _shout(self) -> None:
        while not self._is_over.is_set():
            try:
                with socket.socket() as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SHOUTER_KERNEL_BYTES // 2)
                    client.settimeout(0.2)
                    client.connect(("127.0.0.1", self._port))
                    self._shout_to(client)
            except OSError:
                time.sleep(AGAIN_S)

    def _shout_to(self, client: socket.socket) -> None:
        line = b""
        while not self._is_over.is_set():
            if not line:
                line = f'{{"n": {self.sent}, "fill": "'.encode()
                line += b"x" * (SHOUTER_LINE_BYTES - len(line) - 3) + b'"}\n'
            try:
                line = line[client.send(line) :]
            except TimeoutError:
                continue
            if not line:
                self.sent += 1
