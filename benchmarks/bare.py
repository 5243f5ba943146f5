"""The workloads over processes without Consecution, on bare pyzmq and msgpack: the bounds. Arguments as for ``flows``.

Rules of this module: batches of 500 (one item a message for latency), TCP over loopback, no bound on what waits, and
nothing is followed, repeated or checked on its way. The clock is that of ``flows``.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgpack  # type: ignore[import-untyped]
import zmq

from benchmarks.exchange import LATENCY, W2, Distributed, cpu_s, rename, rows, ticks, touch, w3_total
from benchmarks.workloads import w2_answer, w2_lines

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

BATCH = 500
pack = msgpack.Packer().pack
unpack = msgpack.unpackb


def _pull(end: Connection) -> zmq.Socket[bytes]:
    """Bind, and tell the parent where."""
    pull: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
    pull.set(zmq.RCVHWM, 0)
    end.send(pull.bind_to_random_port("tcp://127.0.0.1"))
    return pull


def _push(port: int) -> zmq.Socket[bytes]:
    push: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
    push.set(zmq.SNDHWM, 0)
    push.connect(f"tcp://127.0.0.1:{port}")
    return push


def chain(place: int, case: Distributed, end: Connection) -> None:
    """Be A, B or C (place 0, 1, 2) of W3 or of the latency run; an empty message is the end."""
    pull = _pull(end) if place else None
    push = _push(end.recv()) if place < 2 else None
    end.recv()
    answer = (_latency if case.workload == LATENCY else _w3)(place, case, pull, push)
    end.send(answer)
    end.recv()


def _w3(place: int, case: Distributed, pull: Any, push: Any) -> Any:
    if place == 0:
        batch: list[Any] = []
        for item in rows(case.items):
            batch.append(rename(item))
            if len(batch) == BATCH:
                push.send(pack(batch))
                batch = []
        push.send(pack(batch))
        push.send(b"")
        return None
    if place == 1:
        while data := pull.recv():
            push.send(pack([rename(item) for item in unpack(data)]))
        push.send(b"")
        return None
    began = 0.0
    count = total = 0
    while data := pull.recv():
        for item in unpack(data):
            item = rename(item)
            if not count:
                began = float(item["name"])
            count += 1
            total += item["v"]
    return began, time.monotonic(), count, total


def _latency(place: int, case: Distributed, pull: Any, push: Any) -> Any:
    if place == 0:
        for item in ticks(case.items, case.rate):
            push.send(pack(touch(item)))
        push.send(b"")
        return None
    if place == 1:
        while data := pull.recv():
            push.send(pack(touch(unpack(data))))
        push.send(b"")
        return None
    waited = []
    while data := pull.recv():
        waited.append(time.monotonic() - unpack(data)["v"])
    return waited


def exchange(place: int, case: Distributed, end: Connection) -> None:
    """Be one of the two of W2: split half of the lines, keep the words that are mine, send the others."""
    lines = w2_lines(case.items)[place::2]
    pull = _pull(end)
    push = _push(end.recv())
    end.recv()
    began = time.monotonic()
    counts: Counter[str] = Counter()
    owner_of: dict[str, int] = {}
    parts: tuple[list[str], list[str]] = ([], [])
    is_open = True

    def take(flags: int) -> bool:
        data = pull.recv(flags)
        if data:
            counts.update(unpack(data))
        return bool(data)

    for line in lines:
        for word in line.split():
            owner = owner_of.get(word)
            if owner is None:
                owner = owner_of[word] = crc32(word.encode()) % 2
            parts[owner].append(word)
        if len(parts[place]) >= BATCH:
            counts.update(parts[place])
            parts[place].clear()
        if len(parts[1 - place]) >= BATCH:
            push.send(pack(parts[1 - place]))
            parts[1 - place].clear()
            while is_open and pull.poll(0):
                is_open = take(zmq.NOBLOCK)
    counts.update(parts[place])
    if parts[1 - place]:
        push.send(pack(parts[1 - place]))
    push.send(b"")
    while is_open:
        is_open = take(0)
    end.send((began, time.monotonic(), dict(counts)))
    end.recv()


def run(case: Distributed) -> dict[str, Any]:
    """Start the processes, tell each where the next one is, let them go, and check what they give."""
    spawn = multiprocessing.get_context("spawn")
    target, count = (exchange, 2) if case.workload == W2 else (chain, 3)
    ends = []
    processes = []
    for place in range(count):
        mine, theirs = spawn.Pipe()
        processes.append(spawn.Process(target=target, args=(place, case, theirs), daemon=True))
        processes[-1].start()
        ends.append(mine)
    if case.workload == W2:
        ports = [end.recv() for end in ends]
        ends[0].send(ports[1])
        ends[1].send(ports[0])
    else:
        for place in (1, 2):
            ends[place - 1].send(ends[place].recv())
    time.sleep(0.3)  # until all have connected; no clock runs yet
    for end in ends:
        end.send("go")
    answers = [end.recv() for end in ends]
    for end, process in zip(ends, processes, strict=True):
        end.send("over")
        process.join()
    return _checked(case, answers)


def _checked(case: Distributed, answers: list[Any]) -> dict[str, Any]:
    if case.workload == LATENCY:
        assert len(answers[2]) == case.items, "items are missing"
        return {"waited_s": answers[2]}
    if case.workload == W2:
        counts: Counter[str] = Counter()
        for _, _, part in answers:
            counts.update(part)
        assert counts == w2_answer(w2_lines(case.items)), "the answer is wrong"
        return {"wall_s": max(ended for _, ended, _ in answers) - min(began for began, _, _ in answers)}
    began, ended, count, total = answers[2]
    assert (count, total) == (case.items, w3_total(case.items)), "the answer is wrong"
    return {"wall_s": ended - began}


if __name__ == "__main__":
    print(json.dumps({**run(Distributed(**json.loads(sys.argv[1]))), "cpu_s": cpu_s()}), flush=True)
