"""The agent with real sockets, real children and a real disk; the test is its coordinator."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from consecution import Consecutor, Map
from consecution.transport.zeromq import ControlServer
from consecution.wire.bundle import Bundle, make_bundle
from consecution.wire.cluster.from_worker import (
    FROM_WORKER,
    AskBundle,
    ChildExit,
    ChildId,
    ChildPhase,
    Heartbeat,
    LogText,
    Register,
)
from consecution.wire.cluster.parcel import Refused, pack, unpack
from consecution.wire.cluster.to_worker import (
    BundleChunk,
    BundleInfo,
    ChildOrder,
    FetchLog,
    Heard,
    NumbersNews,
    PlacementNews,
    RegisterAgain,
    Registered,
    Wanted,
)
from consecution.wire.control import FlowPlace, RunSettings
from consecution.wire.placement import Member, Phase, Placement, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.ports import Ports

SETTINGS = RunSettings("flow", "REPLAY", 3, 30.0, 300.0, 1000)
RUN = """
import logging, sys
from pathlib import Path
from consecution_worker.agent import run_worker
from consecution_worker.config import Limits, WorkerConfig
from consecution.errors import ClusterError
logging.basicConfig(level=logging.INFO, format="%(message)s")
address, folder, memory = sys.argv[1:]
try:
    config = WorkerConfig(address, Path(folder), name="w1", slots=2, memory_limit_bytes=int(memory) or None)
    sys.exit(run_worker(config, Limits(stopped_s=1.0, leave_s=3.0)))
except ClusterError as error:
    sys.exit(f"refused: {error}")
"""


def acker(index: int = 0, attempt: int = 1) -> ChildOrder:
    return ChildOrder(ChildId("flow", 1, "acker", index, attempt), "", 1, SETTINGS)


FLOW = """
from consecution import Consecutor, Map, options

def double(x):
    return 2 * x

print("loading", options["what"])
flow = Consecutor(Map(double), name="flow")
"""


def executor(bundle: Bundle, fingerprint: str, attempt: int = 1) -> ChildOrder:
    place = FlowPlace("flow.py", "", {"what": "it"}, ("flow.py",), "flow")
    return ChildOrder(ChildId("flow", 1, "executor", 0, attempt), bundle.sha256, 1, SETTINGS, fingerprint, place)


@dataclass
class Coordinator:
    """Plays the coordinator: answers what a worker must have answered, and keeps what it said."""

    server: ControlServer
    worker: Any = None
    route: bytes = b""
    registers: list[Register] = field(default_factory=list)
    beats: list[Heartbeat] = field(default_factory=list)
    logs: dict[str, LogText] = field(default_factory=dict)
    exits: dict[int, ChildExit] = field(default_factory=dict)
    refusal: Refused | None = None
    confirms: bool = True
    number: int = 0
    code: bytes = b""
    asked: int = 0

    def serve(self, timeout_s: float = 0.02) -> None:
        for request in self.server.poll(timeout_s):
            self.route = request.route
            name, message = unpack(request.payload, FROM_WORKER)
            if isinstance(message, Register):
                self.registers.append(message)
                self.say(self.refusal or Registered(int(self.server.news_address.rpartition(":")[2]), heartbeat_s=0.25))
            elif isinstance(message, Heartbeat):
                self.beats.append(message)
                self.exits.update((one.number, one) for one in message.exits)
                if self.confirms:
                    exits = max((one.number for one in message.exits), default=0)
                    self.say(Heard(message.number, exits, 0, self.number))
            elif isinstance(message, AskBundle):
                self.asked += 1
                part = self.code[message.offset : message.offset + 100]
                self.say(BundleChunk(message.sha256, message.offset, len(self.code), part))
            elif isinstance(message, LogText):
                self.logs[name] = message

    def say(self, message: object, request: str = "") -> None:
        self.server.reply(self.route, pack(message, request))

    def wants(self, *orders: ChildOrder, bundles: tuple[BundleInfo, ...] = ()) -> None:
        self.number += 1
        self.say(Wanted(self.number, self.registers[-1].session, orders, (), bundles, ("flow",)))

    def until(self, condition: Callable[[], Any], what: str, deadline_s: float = 20.0) -> Any:
        end = time.monotonic() + deadline_s
        while not (answer := condition()):
            if time.monotonic() > end:
                pytest.fail(
                    f"not within {deadline_s} s: {what}\n{self.worker and self.worker.stderr}\n{self.beats[-1:]}"
                )
            self.serve()
        return answer

    def child(self) -> Any:
        """The only child, as the newest heartbeat tells it."""
        return self.beats[-1].children[0] if self.beats and self.beats[-1].children else None

    def born(self) -> Any:
        return self.until(lambda: (one := self.child()) and one.phase is ChildPhase.BORN and one, "a child is born")


@pytest.fixture
def coordinator(ports: Ports) -> Iterator[Coordinator]:
    one = Coordinator(ControlServer(*(f"tcp://127.0.0.1:{ports.take()}" for _ in range(2))))
    yield one
    one.server.close()


@pytest.fixture
def worker(process: Any, coordinator: Coordinator, tmp_path: Path) -> Callable[..., Any]:
    def start(memory_bytes: int = 0) -> Any:
        command = (sys.executable, "-c", RUN, coordinator.server.address, str(tmp_path / "data"), str(memory_bytes))
        coordinator.worker = process(*command)
        return coordinator.worker

    return start


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def test_a_child_is_started_heard_and_ended_by_a_placement(
    worker: Callable[..., Any], coordinator: Coordinator, tmp_path: Path
) -> None:
    worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    (register,) = coordinator.registers[-1:]
    assert (register.name, register.slots, register.host) == ("w1", 2, "127.0.0.1")
    assert register.figures.memory_bytes > 0
    coordinator.wants(acker())
    child = coordinator.born()
    member = Member(child.incarnation, 1, Role.ACKER, 0, child.address, "w1")
    coordinator.server.publish(pack(PlacementNews(Placement("flow", 1, Phase.RUNNING, (member,)))))
    coordinator.until(lambda: coordinator.child().ready == 1, "it heard the placement")
    assert coordinator.until(lambda: coordinator.child().memory_bytes, "figures") > 1 << 20
    assert coordinator.beats[-1].placements == {"flow": 1}
    coordinator.server.publish(pack(PlacementNews(Placement("flow", 2, Phase.ENDED))))
    ended = coordinator.until(lambda: coordinator.exits.get(1), "its exit")
    assert (ended.code, ended.was_wanted, ended.cause) == (0, False, None)
    coordinator.until(lambda: not coordinator.beats[-1].children, "it is gone")
    assert list((tmp_path / "data" / "work").iterdir()) == []


def test_a_missed_placement_is_asked_for(worker: Callable[..., Any], coordinator: Coordinator) -> None:
    worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    coordinator.wants(acker())
    child = coordinator.born()
    member = Member(child.incarnation, 1, Role.ACKER, 0, child.address, "w1")
    coordinator.server.publish(pack(PlacementNews(Placement("flow", 1, Phase.RUNNING, (member,)))))
    asked: list[object] = []
    serve = coordinator.server.poll

    def poll(timeout_s: float) -> list[Any]:
        found = serve(timeout_s)
        asked.extend(one for one in found if type(unpack(one.payload, FROM_WORKER)[1]).__name__ == "AskPlacement")
        return found

    coordinator.server.poll = poll  # type: ignore[method-assign]
    coordinator.until(lambda: coordinator.beats[-1].placements == {"flow": 1}, "it has the first")
    asked.clear()
    coordinator.server.publish(pack(NumbersNews({"flow": 2})))
    coordinator.until(lambda: asked, "it asks")


def test_a_killed_child_is_told_within_a_second_until_it_is_confirmed(
    worker: Callable[..., Any], coordinator: Coordinator
) -> None:
    worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    coordinator.wants(acker())
    child = coordinator.born()
    coordinator.confirms = False
    before = time.monotonic()
    os.kill(child.process, signal.SIGKILL)
    ended = coordinator.until(lambda: coordinator.exits.get(1), "its exit")
    assert time.monotonic() - before < 1.0
    assert (ended.incarnation, ended.code, ended.was_wanted) == (child.incarnation, -9, True)
    assert "SIGKILL" in ended.cause.message
    seen = len(coordinator.beats)
    coordinator.until(lambda: len(coordinator.beats) > seen and coordinator.beats[-1].exits, "it is told again")
    coordinator.confirms = True
    coordinator.until(lambda: not coordinator.beats[-1].exits, "it is confirmed")
    coordinator.wants(acker(attempt=2))
    assert coordinator.born().incarnation != child.incarnation


def test_a_stopped_child_is_killed(worker: Callable[..., Any], coordinator: Coordinator) -> None:
    worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    coordinator.wants(acker())
    child = coordinator.born()
    os.kill(child.process, signal.SIGSTOP)
    ended = coordinator.until(lambda: coordinator.exits.get(1), "its exit")
    assert "stopped (SIGSTOP) for more than 1 s" in ended.cause.message
    assert ended.was_wanted


def test_the_memory_limit_is_kept(worker: Callable[..., Any], coordinator: Coordinator) -> None:
    worker(memory_bytes=1 << 20)
    coordinator.until(lambda: coordinator.registers, "it registers")
    coordinator.wants(acker())
    ended = coordinator.until(lambda: coordinator.exits.get(1), "its exit")
    assert "over its memory limit" in ended.cause.message
    assert "of 1 MiB" in ended.cause.message


def test_a_restarted_coordinator_takes_the_children_back(worker: Callable[..., Any], coordinator: Coordinator) -> None:
    worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    coordinator.wants(acker())
    child = coordinator.born()
    address, news = coordinator.server.address, coordinator.server.news_address
    coordinator.server.close()
    coordinator.server = ControlServer(address, news)
    coordinator.registers.clear()
    seen = len(coordinator.beats)
    coordinator.until(lambda: len(coordinator.beats) > seen, "it goes on telling")
    coordinator.say(RegisterAgain())
    (register,) = coordinator.until(lambda: coordinator.registers, "it registers again")
    assert [one.incarnation for one in register.children] == [child.incarnation]
    assert is_alive(child.process)


def test_a_log_is_read_through_the_worker(worker: Callable[..., Any], coordinator: Coordinator) -> None:
    worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    coordinator.wants(acker())
    coordinator.born()
    coordinator.say(FetchLog("flow", "acker", 0, 0), "r1")
    coordinator.say(FetchLog("flow", "acker", 7), "r2")
    coordinator.until(lambda: len(coordinator.logs) == 2, "both answers")
    assert coordinator.logs["r1"].text.startswith("-- start 1 of flow/acker-0")
    assert coordinator.logs["r1"].next_offset > 0
    assert "no log of acker 7" in coordinator.logs["r2"].error


def test_sigterm_tells_the_coordinator_and_leaves_nothing(worker: Callable[..., Any], coordinator: Coordinator) -> None:
    one = worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    coordinator.wants(acker())
    child = coordinator.born()
    one.send_signal(signal.SIGTERM)
    coordinator.until(lambda: coordinator.beats[-1].is_leaving, "it says so")
    assert is_alive(child.process)
    coordinator.wants()  # its work is moved: the child isn't wanted here any more, and a placement lets it go
    coordinator.server.publish(pack(PlacementNews(Placement("flow", 3, Phase.ENDED))))
    coordinator.until(lambda: one.returncode is not None, "it ends")
    assert one.returncode == 0, one.stderr
    assert not is_alive(child.process)
    assert not coordinator.beats[-1].children


def test_a_second_signal_ends_it_at_once(worker: Callable[..., Any], coordinator: Coordinator) -> None:
    one = worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    coordinator.wants(acker())
    child = coordinator.born()
    one.send_signal(signal.SIGTERM)
    coordinator.until(lambda: coordinator.beats[-1].is_leaving, "it says so")
    before = time.monotonic()
    one.send_signal(signal.SIGTERM)
    coordinator.until(lambda: one.returncode is not None, "it ends")
    assert time.monotonic() - before < 2.0
    assert one.returncode == 0
    assert not is_alive(child.process)


def test_a_killed_agent_takes_its_children_with_it(worker: Callable[..., Any], coordinator: Coordinator) -> None:
    one = worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    coordinator.wants(acker())
    child = coordinator.born()
    one.kill()
    coordinator.until(lambda: not is_alive(child.process), "the child is gone", deadline_s=2.0)


def test_a_worker_that_is_refused_for_good_ends_with_the_reason(
    worker: Callable[..., Any], coordinator: Coordinator
) -> None:
    coordinator.refusal = Refused("the name 'w1' is taken by another worker; give this one another --name")
    one = worker()
    coordinator.until(lambda: one.returncode is not None, "it ends")
    assert one.returncode == 1
    assert "refused: the name 'w1' is taken" in one.stderr


def test_a_second_worker_on_one_folder_ends_with_a_clear_error(
    worker: Callable[..., Any], coordinator: Coordinator
) -> None:
    worker()
    coordinator.until(lambda: coordinator.registers, "the first registers")
    second = worker()
    assert second.wait(20) == 1
    assert "is in use by worker 'w1'" in second.stderr


# ---- code ------------------------------------------------------------------------------------------------------------


def double(x: int) -> int:
    return 2 * x


@pytest.fixture
def bundle(coordinator: Coordinator, tmp_path: Path) -> Bundle:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "flow.py").write_text(FLOW)
    one = make_bundle(tmp_path / "code")
    coordinator.code = one.data
    return one


def test_code_is_fetched_checked_and_loaded_by_the_executor_alone(
    worker: Callable[..., Any], coordinator: Coordinator, bundle: Bundle, tmp_path: Path
) -> None:
    worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    info = BundleInfo(bundle.sha256, len(bundle.data))
    fingerprint = Consecutor(Map(double), name="flow").dag.fingerprint
    coordinator.wants(executor(bundle, fingerprint), bundles=(info,))
    coordinator.born()
    assert coordinator.asked == -(-len(bundle.data) // 100)
    log = tmp_path / "data" / "logs" / "flow" / "executor-0.log"
    assert "loading it" in log.read_text()
    assert "loading it" not in coordinator.worker.stderr
    coordinator.wants()
    coordinator.until(lambda: not coordinator.beats[-1].children, "it is gone")
    coordinator.wants(executor(bundle, fingerprint, 2), bundles=(info,))
    coordinator.until(lambda: (one := coordinator.child()) and one.incarnation, "it is there again")
    assert coordinator.asked == -(-len(bundle.data) // 100)  # not fetched a second time


def test_a_flow_that_cant_be_loaded_is_told_with_its_traceback(
    worker: Callable[..., Any], coordinator: Coordinator, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "flow.py").write_text("import not_there_at_all\n")
    bundle = make_bundle(tmp_path / "code")
    coordinator.code = bundle.data
    worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    coordinator.wants(executor(bundle, "f"), bundles=(BundleInfo(bundle.sha256, len(bundle.data)),))
    ended = coordinator.until(lambda: coordinator.exits.get(1), "its exit")
    assert (ended.broke, ended.was_wanted) == ("flow", True)
    assert "No module named 'not_there_at_all'" in ended.message
    assert "not_there_at_all" in ended.traceback
    assert "not_there_at_all" in ended.log_tail


def test_damaged_code_is_never_unpacked(
    worker: Callable[..., Any], coordinator: Coordinator, bundle: Bundle, tmp_path: Path
) -> None:
    coordinator.code = bundle.data[:-1] + b"X"
    worker()
    coordinator.until(lambda: coordinator.registers, "it registers")
    coordinator.wants(executor(bundle, "f"), bundles=(BundleInfo(bundle.sha256, len(bundle.data)),))
    ended = coordinator.until(lambda: coordinator.exits.get(1), "its exit")
    assert (ended.broke, ended.code) == ("bundle", None)
    assert "SHA-256" in ended.message
    assert list((tmp_path / "data" / "bundles").iterdir()) == []


def spares(agent: Any) -> set[int]:
    return {one.pid for one in psutil.Process(agent.pid).children()}


def test_a_process_that_waited_becomes_the_child_and_writes_to_its_log(
    worker: Callable[..., Any], coordinator: Coordinator, tmp_path: Path
) -> None:
    agent = worker()
    coordinator.until(lambda: coordinator.registers and len(spares(agent)) == 3, "three wait")
    waiting = spares(agent)
    coordinator.wants(acker())
    child = coordinator.born()
    assert child.process in waiting
    os.kill(child.process, signal.SIGUSR1)  # it writes its stack to where its output goes
    log = tmp_path / "data" / "logs" / "flow" / "acker-0.log"
    coordinator.until(lambda: "run_child" in log.read_text(), "its stack is in its log")
    coordinator.until(lambda: len(spares(agent)) == 4, "another waits in its place")
    agent.kill()
    coordinator.until(lambda: not any(map(is_alive, waiting)), "they go with their agent")


def test_waiting_processes_that_were_killed_are_no_loss(
    worker: Callable[..., Any], coordinator: Coordinator, tmp_path: Path
) -> None:
    agent = worker()
    coordinator.until(lambda: coordinator.registers and len(spares(agent)) == 3, "three wait")
    waiting = spares(agent)
    for pid in waiting:
        os.kill(pid, signal.SIGKILL)
    coordinator.until(lambda: not any(map(is_alive, waiting)), "they are dead")
    coordinator.wants(acker())
    child = coordinator.born()
    assert child.process not in waiting
    assert not coordinator.exits
    assert agent.returncode is None
    member = Member(child.incarnation, 1, Role.ACKER, 0, child.address, "w1")
    coordinator.server.publish(pack(PlacementNews(Placement("flow", 1, Phase.RUNNING, (member,)))))
    coordinator.until(lambda: coordinator.child().ready == 1, "it heard the placement")
    coordinator.server.publish(pack(PlacementNews(Placement("flow", 2, Phase.ENDED))))
    coordinator.until(lambda: coordinator.exits.get(1), "its exit")
    log = tmp_path / "data" / "logs" / "flow" / "acker-0.log"
    assert " ends: open=0 " in log.read_text()  # as one that waited writes it
