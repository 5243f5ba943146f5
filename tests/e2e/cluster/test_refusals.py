"""Bad things done to a cluster at work: each is refused in words, and none kills, stops or leaks.

One cluster runs a flow all the time. After the whole table the same processes must run it, with no more file
descriptors and hardly more memory than before, and it must end with every item completed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import random
import re
import sys
import time
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from typer.testing import CliRunner

from consecution.cli.main import app
from consecution.client import Client, Flow, NotDone
from consecution.errors import ConsecutionError
from consecution.transport.base import ConnectionFailed
from consecution.transport.zeromq import Reply
from consecution.transport.zeromq.control import ControlClient
from consecution.transport.zeromq.keys import new_keys, read_keys, write_keys
from consecution.version import VERSION
from consecution.wire.bundle import Bundle, make_bundle
from consecution.wire.cluster.from_client import FeedFacts, Kill, ListAll, PlanFacts, StageFacts
from consecution.wire.cluster.from_worker import HostFigures, Register
from consecution.wire.cluster.parcel import PROTOCOL_VERSION, Parcel, Refused, pack, unpack
from consecution.wire.cluster.to_client import TO_CLIENT
from consecution.wire.cluster.to_worker import TO_WORKER
from consecution.wire.control import FlowPlace, RunSettings
from consecution.wire.envelope import MAGIC
from consecution.wire.plain import encode
from tests.e2e.cluster import hostile
from tests.e2e.cluster.harness import Cluster
from tests.e2e.cluster.outcomes import all_completed, all_written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLOWS = Path(__file__).parent / "flows"
ITEMS = 60_000  # at 200 a second, until it is told to hurry
NAME = "keyed"
DEADLINE_S = 30.0
FDS_MORE = 5
BYTES_MORE = 50 << 20
PYTHON = ".".join(map(str, sys.version_info[:2]))


@dataclasses.dataclass
class Ground:
    """A cluster at work, and what strangers need.

    Attributes:
        cluster: It.
        secure: Address of a second coordinator, which wants keys.
        folder: With the keys; ``tmp`` in it is new for each case.
        out: Where the flow writes.
    """

    cluster: Cluster
    secure: str
    folder: Path
    out: Path
    count: int = 0

    @property
    def tmp(self) -> Path:
        """A folder for one case."""
        self.count += 1
        made = self.folder / f"case-{self.count}"
        made.mkdir()
        return made

    def sockets(self) -> dict[str, tuple[str, str]]:
        """Address and kind of each socket that a stranger can reach."""
        port = self.cluster.port
        found = {
            "coordinator": (f"tcp://127.0.0.1:{port}", "ROUTER"),
            "news": (f"tcp://127.0.0.1:{port + 1}", "PUB"),
        }
        for role in ("executor", "acker"):
            for one in self.cluster.processes(NAME, role):
                for listener in psutil.Process(one.process).net_connections("tcp"):
                    if listener.status == psutil.CONN_LISTEN:
                        found[f"{role}-{one.index}"] = (f"tcp://127.0.0.1:{listener.laddr.port}", "PULL")
        assert {"executor-0", "executor-3", "acker-0"} <= set(found), found
        return found

    def cli(self, *words: object, code: int) -> str:
        """What the command line says about it, when it ends with this code; in this process, which is faster."""
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == code, (done.exit_code, done.output)
        return done.output

    def process(self, *words: object, code: int, timeout_s: float = DEADLINE_S) -> str:
        """What the command line says about it, in a process of its own."""
        done = self.cluster.run(*map(str, words), timeout_s=timeout_s)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    def submit(self, body: str, *, code: int = 4, name: str = "bad", wait: bool = False) -> str:
        """What submit says about a flow."""
        folder = self.tmp
        (folder / "flow.py").write_text(f"from consecution import *\n{body}\n")
        more = ("--wait",) if wait else ()
        return self.process("submit", folder / "flow.py", "-c", self.cluster.address, "--name", name, *more, code=code)

    def says(self, payload: bytes, kinds: tuple[type, ...] = TO_CLIENT) -> str:
        """What the coordinator answers to a payload."""
        return _answer(ControlClient(self.cluster.address), payload, kinds)

    def secure_says(self, payload: bytes, key: str | None, server: str = "coordinator") -> str:
        """What the coordinator with keys answers, or why there is no connection."""
        public = read_keys(self.folder / f"{server}.keys").public
        keys = read_keys(self.folder / f"{key}.keys") if key is not None else None
        client = ControlClient(self.secure, keys=keys, server_key=public if keys is not None else None)
        return _answer(client, payload, TO_CLIENT)

    def sends(self, data: bytes, sha256: str = "") -> str:
        """What the coordinator says to a bundle of these bytes."""
        bundle = Bundle(data, sha256 or hashlib.sha256(data).hexdigest(), ("flow.py",), ())
        return self.asks(lambda client: client.submit(dataclasses.replace(_flow(self.tmp), bundle=bundle)))

    def asks(self, ask: Callable[[Client], object]) -> str:
        """Why a client isn't obeyed."""
        with Client(self.cluster.address) as client, pytest.raises(ConsecutionError) as caught:
            ask(client)
        return str(caught.value)


def _answer(client: ControlClient, payload: bytes, kinds: tuple[type, ...]) -> str:
    end = time.monotonic() + DEADLINE_S
    send_at = 0.0
    try:
        while (now := time.monotonic()) < end:
            if now >= send_at:
                send_at = now + (1.0 if client.send(payload) else 0.02)
            for news in client.poll(0.05):
                if isinstance(news, ConnectionFailed):
                    return news.reason
                if isinstance(news, Reply):
                    answer = unpack(news.payload, kinds)[1]
                    return answer.reason if isinstance(answer, Refused) else repr(answer)
    finally:
        client.close()
    pytest.fail("no answer")


def _flow(folder: Path) -> Flow:
    """A small flow, as a client sends it."""
    (folder / "flow.py").write_text("x = 1\n")
    stages, feeds = (StageFacts(0, ("n0",), 1, 0),), (FeedFacts(0, "rows", "sequence", "re-readable", False, (0,)),)
    return Flow(
        name="evil",
        place=FlowPlace("flow.py", ""),
        bundle=make_bundle(folder),
        settings=RunSettings("evil", "REPLAY", 3, 30.0, 300.0, 100),
        plan=PlanFacts(stages, feeds),
        fingerprint="f",
        spec=b"",
    )


def _zip(*entries: tuple[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return data.getvalue()


def _register(name: str = "stranger", **changes: object) -> bytes:
    one = Register(name, "disk", "session", 1, "127.0.0.1", HostFigures(1, 1 << 30), VERSION, PYTHON)
    return pack(dataclasses.replace(one, **changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A cluster at work, and a second coordinator, with keys."""
    folder = tmp_path_factory.mktemp("refusals")
    out = folder / "out"
    out.mkdir()
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(folder))
        cluster.start("a", "b", slots=3)
        cluster.submit(FLOWS / "keyed.py", NAME, out=out, items=ITEMS, pause=0.02)
        for role in ("coordinator", "worker", "reader", "stranger"):
            write_keys(new_keys(), folder / f"{role}.keys")
        allowed = [f"{read_keys(folder / f'{role}.keys').public.decode()} {role} x" for role in ("worker", "reader")]
        (folder / "allowed.txt").write_text("\n".join(allowed) + "\n")
        words = ("--keys", "coordinator.keys", "--allowed", "allowed.txt", "--address-file", "secure.address")
        cluster.start_other("coordinator", "--bind", "tcp://127.0.0.1:*", "--data-dir", "secure", *words)
        address = folder / "secure.address"
        cluster.wait_for(address.exists, DEADLINE_S, "the second coordinator listens")
        cluster.wait_until_flows(NAME, 100)
        yield Ground(cluster, address.read_text().strip(), folder, out)
    assert cluster.living() == []


def _everywhere(ground: Ground, attack: Callable[[str, str], None]) -> str:
    for address, kind in ground.sockets().values():
        attack(address, kind)
    return "survived"


def _log_says(ground: Ground, what: str) -> str:
    """What the coordinator, or an executor in its log, says of it."""

    def found() -> list[str]:
        logs = [*ground.folder.glob("*.out"), *ground.folder.glob("worker-*/logs/*/executor-*.log")]
        return [line for log in logs for line in log.read_text(errors="replace").splitlines() if what in line]

    lines: list[str] = ground.cluster.wait_for(found, DEADLINE_S, f"a log says {what!r}")
    return lines[-1]


def _to_executors(ground: Ground, payload: bytes, what: str) -> str:
    for name, (address, kind) in ground.sockets().items():
        if name.startswith("executor"):
            hostile.message(address, kind, payload)
    return _log_says(ground, what)


def _broken_name(ground: Ground) -> Path:
    """A path that no folder can be made at, whoever asks: a file is in the way."""
    (ground.tmp / "file").write_text("")
    return ground.folder / f"case-{ground.count}" / "file" / "data"


def _large_folder(ground: Ground) -> Path:
    folder = ground.tmp
    (folder / "flow.py").write_text("from consecution import *\nflow = Consecutor([1] | Map(str))\n")
    (folder / "rows.bin").write_bytes(random.Random(1).randbytes(21 << 20))
    return folder / "flow.py"


def _namesakes(ground: Ground) -> str:
    folder = ground.tmp
    (folder / "flow.py").write_text("from consecution import *\nflow = Consecutor([1] | Map(str), 'namesakes')\n")
    for name in ("zmq", "msgpack", "psutil", "consecution", "consecution_worker"):
        (folder / f"{name}.py").write_text("raise ImportError('this is the wrong one')\n")
    return ground.process("submit", folder / "flow.py", "-c", ground.cluster.address, "--wait", code=0)


def _world_readable(ground: Ground) -> Path:
    path = ground.tmp / "open.keys"
    path.write_bytes((ground.folder / "reader.keys").read_bytes())
    path.chmod(0o644)
    return path


CYCLE = """
a, b, c = Map(str), Map(str), Map(str)
[1] | a | b | c
c | a
flow = Consecutor(a)
"""
LOCK = """
import threading
class Guard(Node):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
    def process(self, item):
        self.push(item)
flow = Consecutor([1] | Guard())
"""
LOCALHOST = ("--bind", "tcp://127.0.0.1:*")

CASES: dict[str, tuple[Callable[[Ground], str], str]] = {
    # ---- bytes on sockets ----
    "random bytes on every socket": (
        lambda g: _everywhere(g, lambda address, kind: hostile.random_bytes(address, random.Random(1))),
        "survived",
    ),
    "truncated greetings, commands and frames on every socket": (
        lambda g: _everywhere(g, lambda address, kind: hostile.truncated(address, kind, random.Random(2))),
        "survived",
    ),
    "a frame of a gigabyte on every socket": (lambda g: _everywhere(g, hostile.huge), "survived"),
    "a frame of a terabyte on every socket": (
        lambda g: _everywhere(g, lambda address, kind: hostile.huge(address, kind, 1 << 40)),
        "survived",
    ),
    "a greeting that is never finished": (lambda g: _slow_greeting(g), "closed"),
    "a message that is none, to the coordinator": (
        lambda g: g.says(b"\xff" * 100),
        "that is no message of a worker or client",
    ),
    "a bomb of empty lists, to the coordinator": (
        lambda g: g.says(b"\xdd\x00\x0f\x00\x00" + b"\x90" * 900_000),
        "no message",
    ),
    "a bomb of nested lists, to the coordinator": (lambda g: g.says(b"\x91" * 900_000), "no message"),
    "a packet that is none, to executors": (
        lambda g: _to_executors(g, b"junk" * 30, "120 bytes"),
        "refused: 120 bytes that are no Consecution packet",
    ),
    "a packet of another version, to executors": (
        lambda g: _to_executors(g, MAGIC + bytes([99]) + b"\0" * 100, "version 99"),
        "version 99.*version 1",
    ),
    "another version of the cluster's protocol": (
        lambda g: g.says(encode(Parcel(99, "9.9", "r", encode(ListAll())))),
        rf"version 99 .*9\.9.*this one version {PROTOCOL_VERSION}; install the same release",
    ),
    # ---- keys ----
    "a key that isn't in the list": (
        lambda g: g.secure_says(pack(ListAll()), "stranger"),
        "refused the key .*list of allowed keys",
    ),
    "no key": (
        lambda g: g.secure_says(pack(ListAll()), None),
        "and this side was given none.*give --keys",
    ),
    "a wrong key of the coordinator": (lambda g: g.secure_says(pack(ListAll()), "reader", "stranger"), "wrong key"),
    "a worker's key that asks what a reader may": (
        lambda g: g.secure_says(pack(ListAll()), "worker"),
        "not authorised to list: that needs the role",
    ),
    "a reader's key that kills": (
        lambda g: g.secure_says(pack(Kill("x")), "reader"),
        "not authorised to kill: that needs the role submitter",
    ),
    "a reader's key that joins as a worker": (
        lambda g: g.secure_says(_register(), "reader"),
        "not authorised to join as a worker",
    ),
    "a key file that others may read": (lambda g: g.cli("keys", "show", _world_readable(g), code=1), "chmod 600"),
    "a coordinator open to all without keys": (
        lambda g: g.cli("coordinator", "--bind", "tcp://0.0.0.0:*", "--data-dir", g.tmp, code=1),
        "--insecure",
    ),
    # ---- flows ----
    "a flow with an import error": (lambda g: g.submit("import nothing_of_that_name"), "nothing_of_that_name"),
    "a flow with a cycle": (lambda g: g.submit(CYCLE), "cycle"),
    "a flow with a default that can't be copied": (lambda g: g.submit(LOCK), "guard.*lock.*setup"),
    "a flow that only this process could read": (
        lambda g: g.submit("flow = Consecutor(iter([1]) | Map(str))"),
        "only this process has",
    ),
    "a flow without a producer": (lambda g: g.submit("flow = Consecutor(Map(str))"), "has no producer"),
    "a flow that isn't there": (
        lambda g: g.process("submit", "nothing.py", "-c", g.cluster.address, code=4),
        "nothing.py",
    ),
    "a flow that another Python can't load": (
        lambda g: g.submit(
            "import os\nif 'worker' in os.getcwd(): import not_on_workers\nflow = Consecutor([1] | Map(str))",
            wait=True,
            name="there",
        ),
        "not_on_workers",
    ),
    "a folder that is too large": (
        lambda g: g.process("submit", _large_folder(g), "-c", g.cluster.address, code=1),
        "rows.bin",
    ),
    "a -D that is no pair": (
        lambda g: g.process("submit", "flow.py", "-D", "x", "-c", g.cluster.address, code=2),
        "key=value",
    ),
    "two topologies of one name": (
        lambda g: g.cli(
            "submit", FLOWS / "keyed.py", "-c", g.cluster.address, "--name", NAME, *_keyed_options(g), code=1
        ),
        "keyed.*(another --name|kill)",
    ),
    "a folder with modules named as ours and those that we use": (lambda g: _namesakes(g), "1 completed, 0 failed"),
    # ---- bundles ----
    "a zip that climbs out of its folder": (
        lambda g: g.sends(_zip(("flow.py", b"x"), ("../evil.py", b"x"))),
        "outside",
    ),
    "a zip with an absolute path": (lambda g: g.sends(_zip(("flow.py", b"x"), ("/etc/evil.py", b"x"))), "outside"),
    "a zip that unpacks to gigabytes": (lambda g: g.sends(_zip(("flow.py", b"\0" * (300 << 20)))), "MiB"),
    "a zip that is none": (lambda g: g.sends(b"PK" + b"x" * 100), "zip"),
    "a zip that isn't what its name says": (lambda g: g.sends(_zip(("flow.py", b"x")), "0" * 64), "(SHA-256|checksum)"),
    # ---- commands ----
    "an unknown node in rebalance": (
        lambda g: g.asks(lambda client: client.rebalance(NAME, {"nobody": 2})),
        "nobody.*keep",
    ),
    "an unknown topology": (
        lambda g: g.cli("status", "nothing", "-c", g.cluster.address, code=1),
        "no topology 'nothing'.*keyed",
    ),
    "an unknown log": (lambda g: g.cli("logs", NAME, 99, "-c", g.cluster.address, code=1), "no executor 99"),
    "an address that is none": (lambda g: g.cli("list", "-c", "tcp://nowhere", code=1), "expected tcp://HOST:PORT"),
    "no coordinator there": (
        lambda g: g.cli("list", "-c", "tcp://127.0.0.1:9", "--timeout", 0.5, code=5),
        "no coordinator answered",
    ),
    # ---- workers ----
    "a worker with another minor version of Python": (
        lambda g: g.says(_register(python="2.7"), TO_WORKER),
        rf"runs Python 2\.7, the workers of this cluster run Python {re.escape(PYTHON)}",
    ),
    "a worker with another version of the library": (
        lambda g: g.says(_register(library="0.0.1"), TO_WORKER),
        r"has consecution 0\.0\.1, the coordinator .*install the same release",
    ),
    "a worker whose name leads out of a folder": (
        lambda g: g.says(_register(name="../b"), TO_WORKER),
        "can't name a worker",
    ),
    "the same worker name twice": (
        lambda g: g.cli("worker", "-c", g.cluster.address, "--name", "b", "--data-dir", g.tmp, code=1),
        "a worker named 'b' is in the cluster already",
    ),
    "the same folder twice": (
        lambda g: g.cli("worker", "-c", g.cluster.address, "--name", "c", "--data-dir", g.folder / "worker-b", code=1),
        "in use by worker 'b'",
    ),
    "a worker's folder that can't be written": (
        lambda g: g.cli("worker", "-c", g.cluster.address, "--name", "c", "--data-dir", _broken_name(g), code=1),
        "can't be written",
    ),
    "a negative number of slots": (lambda g: g.cli("worker", "--slots", -1, code=2), "slots"),
    # ---- coordinators ----
    "a port that is taken": (
        lambda g: g.cli("coordinator", "--bind", g.cluster.address, "--data-dir", g.tmp, code=1),
        "can't bind .*choose a free port",
    ),
    "a coordinator's folder that is taken": (
        lambda g: g.cli("coordinator", *LOCALHOST, "--data-dir", g.folder / "coordinator", code=1),
        "in use by process",
    ),
    "a coordinator's folder that can't be written": (
        lambda g: g.cli("coordinator", *LOCALHOST, "--data-dir", _broken_name(g), code=1),
        "can't be written",
    ),
}


def _slow_greeting(ground: Ground) -> str:
    """Start a greeting on every socket and say nothing more: each is closed after five seconds."""
    with ExitStack() as stack:
        raws = [stack.enter_context(hostile.connected(address)) for address, _ in ground.sockets().values()]
        for raw in raws:
            raw.sendall(hostile.GREETING[:20])
        assert all(hostile.is_closed(raw, 15) for raw in raws)
    return "closed"


def _keyed_options(ground: Ground) -> tuple[str, ...]:
    return ("-D", f"out={ground.out}", "-D", "items=1", "-D", "pause=0")


@pytest.fixture(scope="module")
def before(ground: Ground) -> dict[str, tuple[int, int, int]]:
    """Process id, file descriptors and bytes of everybody, before the first case."""
    return _everybody(ground)


def _everybody(ground: Ground) -> dict[str, tuple[int, int, int]]:
    cluster = ground.cluster
    assert cluster.coordinator is not None
    pids = {"coordinator": cluster.coordinator.pid, **{f"worker {w.name}": w.pid for w in cluster.workers.values()}}
    for role in ("executor", "acker"):
        pids |= {f"{role}-{one.index}": one.process for one in cluster.processes(NAME, role)}
    found = {}
    for name, pid in pids.items():
        process = psutil.Process(pid)
        found[name] = (pid, process.num_fds(), process.memory_info().rss)
    return found


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_words(ground: Ground, before: dict[str, tuple[int, int, int]], case: str) -> None:
    do, says = CASES[case]
    text = do(ground)
    assert re.search(says, text, re.DOTALL), text
    assert before


def test_after_all_of_it_nothing_was_killed_or_leaked_and_every_item_is_completed(
    ground: Ground, before: dict[str, tuple[int, int, int]], wait_for: Callable[..., object]
) -> None:
    cluster = ground.cluster

    def more_fds() -> dict[str, int]:
        return {
            name: fds - before[name][1]
            for name, (_, fds, _) in _everybody(ground).items()
            if fds - before[name][1] > FDS_MORE
        }

    after = _everybody(ground)
    assert {name: pid for name, (pid, _, _) in after.items()} == {name: pid for name, (pid, _, _) in before.items()}
    wait_for(lambda: not more_fds(), DEADLINE_S, "no more files are open than before")
    assert not {
        name: size - before[name][2] for name, (_, _, size) in after.items() if size - before[name][2] > BYTES_MORE
    }
    (ground.out / "hurry").touch()
    all_completed(cluster.wait_until_over(NAME, 120), ITEMS)
    assert all_written(ground.out, ITEMS) == 0  # nothing was even replayed
    with pytest.raises(NotDone, match="no topology"):
        cluster.client.status("evil")
