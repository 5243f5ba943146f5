"""The agent of a host: one thread round `AgentState`, with the connection to the coordinator and the children.

Shutdown, in this order: the first SIGTERM or SIGINT tells the coordinator, which moves the work; when nothing runs here
any more, or after ten seconds, what is left is killed, the last heartbeat says so, and the agent ends with 0. A second
signal kills at once. An agent that is killed takes its children with it (the kernel sees to that).
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import time
import uuid
from typing import TYPE_CHECKING

from consecution.errors import ClusterError, ProtocolError
from consecution.transport.base import ConnectionFailed
from consecution.transport.zeromq import ControlClient
from consecution.transport.zeromq.control import News
from consecution.transport.zeromq.keys import read_keys
from consecution.version import VERSION
from consecution.wire.cluster.from_worker import LogText
from consecution.wire.cluster.parcel import (
    CHUNK_BYTES,
    OtherVersion,
    Refused,
    news_address,
    pack,
    unpack,
)
from consecution.wire.cluster.to_worker import NEWS, TO_WORKER
from consecution_worker.agent_state import AgentState, Host
from consecution_worker.children import Children
from consecution_worker.code_store import CodeRefused, CodeStore
from consecution_worker.config import Limits, WorkerConfig
from consecution_worker.data_dir import DataDir
from consecution_worker.events import (
    AgentEvent,
    AgentInstruction,
    AnswerLog,
    Came,
    Carry,
    CodeFailed,
    CodeMissing,
    CodeUnpacked,
    DumpStack,
    Exit,
    KillChild,
    Leave,
    LeaveWord,
    Listen,
    Looked,
    LookForCode,
    NewsCame,
    Note,
    NotSent,
    Redial,
    Relay,
    RemoveCode,
    RemoveJournal,
    Send,
    StartChild,
    StoreCode,
    Tick,
)
from consecution_worker.figures import Figures
from consecution_worker.task_log import TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from consecution.transport.base import TransportNews
    from consecution.transport.zeromq.control import ClientNews
    from consecution.wire.cluster.to_worker import ToWorker

log = logging.getLogger(__name__)

WAIT_MAX_S = 0.25
LOOK_S = 0.5
LOGS_S = 1.0


def run_worker(config: WorkerConfig, limits: Limits | None = None) -> int:
    """Run a worker until it is told to leave; from the main thread, which its signals come to.

    Returns:
        0 after a good end.

    Raises:
        ClusterError: The folder or the keys can't be used, or the coordinator refused the worker for good.
    """
    with Agent(config, limits or Limits()) as agent:
        before = [(number, signal.signal(number, agent.on_signal)) for number in (signal.SIGTERM, signal.SIGINT)]
        wakeup = signal.set_wakeup_fd(agent.wakeup_fileno, warn_on_full_buffer=False)
        try:
            agent.run()
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before:
                signal.signal(number, handler)
    return 0


class Agent:
    """A worker at work. Owned by one thread, which must live as long as the children; close it.

    Args:
        config: How it runs.
        limits: Its bounds and times.

    Attributes:
        wakeup_fileno: A byte written there ends its wait.

    Raises:
        ClusterError: The folder or the keys can't be used.
    """

    def __init__(self, config: WorkerConfig, limits: Limits) -> None:
        self._config, self._limits = config, limits
        name = config.name or socket.gethostname()
        keys = read_keys(config.keys) if config.keys is not None else None
        self._data_dir = DataDir(config.data_dir, name)
        self._data_dir.clean_up()
        self._store = CodeStore(self._data_dir)
        self._figures = Figures(self._data_dir.path)
        self._client = ControlClient(config.coordinator, keys=keys, server_key=config.coordinator_key)
        self._awake, wakeup = socket.socketpair()
        self._wakeup = wakeup
        for end in (self._awake, wakeup):
            end.setblocking(False)
        self.wakeup_fileno = wakeup.fileno()
        self._client.watch(self._awake.fileno())
        address = config.host or own_address(config.coordinator)
        slots = config.slots or os.cpu_count() or 1
        self._children = Children(
            self._data_dir,
            bind_pattern(address),
            limits,
            watch=self._client.watch,
            unwatch=self._client.unwatch,
            spares=min(slots + 1, limits.spares_max) if config.spares is None else config.spares,
            is_insecure=config.is_insecure,
        )
        host = Host(
            name=name,
            identity=self._data_dir.identity(),
            session=uuid.uuid4().hex,
            slots=slots,
            address=address,
            hostname=socket.gethostname(),
            library=VERSION,
            python=".".join(platform.python_version_tuple()[:2]),
            process=os.getpid(),
            memory_bytes_max=config.memory_limit_bytes or 0,
        )
        now = time.monotonic()
        self._state = AgentState(host, limits, self._figures.host(), now)
        self._look_at = self._logs_at = now
        self._signals = 0
        self._signals_told = 0
        self._is_over = False
        self._refusal = ""
        log.info("worker %r of %s on %s, data in %s", name, config.coordinator, address, self._data_dir.path)

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def on_signal(self, number: int, _frame: FrameType | None = None) -> None:
        """Leave in good order; the second time at once."""
        self._signals += 1

    def run(self) -> None:
        """Work until it has left.

        Raises:
            ClusterError: The coordinator refused it for good.
        """
        while not self._is_over:
            self.turn(WAIT_MAX_S)
        if self._refusal:
            raise ClusterError(self._refusal)

    def turn(self, wait_max_s: float) -> None:
        """Wait for the next thing to happen, and do what it asks for."""
        wait_s = max(0.0, min(self._state.due() - time.monotonic(), wait_max_s))
        for news in self._client.poll(wait_s):
            self._heard(news)
        self._clear_wakeup()
        while self._signals_told < self._signals:
            self._signals_told += 1
            self._tell(Leave())
        for event in self._children.hear():
            self._tell(event)
        self._look()
        self._tell(Tick())

    def close(self) -> None:
        """Kill what still runs, and let go of the folder."""
        self._children.close()
        self._client.close()
        self._awake.close()
        self._wakeup.close()
        self._data_dir.close()

    # ---- what comes --------------------------------------------------------------------------------------------------

    def _heard(self, news: ClientNews | TransportNews) -> None:
        if isinstance(news, ConnectionFailed):
            log.warning("%s", news.reason)
            return
        payload: bytes = news.payload  # type: ignore[union-attr]
        try:
            if isinstance(news, News):
                self._tell(NewsCame(unpack(payload, NEWS)[1]))
            else:
                answer: tuple[str, ToWorker] = unpack(payload, TO_WORKER)
                self._tell(Came(answer[1], answer[0]))
        except OtherVersion as error:
            self._tell(Came(Refused(str(error), kind="version")))
        except ProtocolError as error:
            log.warning("dropped what came from %s: %s", self._config.coordinator, error)

    def _clear_wakeup(self) -> None:
        try:
            while self._awake.recv(4096):
                pass
        except BlockingIOError:
            return

    def _look(self) -> None:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._tell(Looked(self._figures.host(), self._figures.children(self._children.pids())))
            self._children.keep_spares()
        if now >= self._logs_at:
            self._logs_at = now + LOGS_S
            self._children.rotate_logs()

    # ---- what is to be done ------------------------------------------------------------------------------------------

    def _tell(self, event: AgentEvent) -> None:
        """Tell the core, and do what it wants, and what comes of that."""
        for instruction in self._state.handle(event, time.monotonic()):
            follows = self._do(instruction)
            if follows is not None:
                self._tell(follows)

    def _do(self, instruction: AgentInstruction) -> AgentEvent | None:
        if isinstance(instruction, Send):
            if not self._client.send(pack(instruction.message)):
                return NotSent()
        elif isinstance(instruction, Relay):
            return self._children.relay(instruction.id, instruction.placement)
        elif isinstance(instruction, Carry):
            return self._children.carry(instruction.id, instruction.message)
        elif isinstance(instruction, StartChild):
            return self._children.start(instruction.order)
        elif isinstance(instruction, KillChild):
            self._children.kill(instruction.id, is_blamed=instruction.is_blamed)
        elif isinstance(instruction, LeaveWord):
            self._children.leave_word(instruction.order, instruction.cause)
        elif isinstance(instruction, DumpStack):
            self._children.dump_stack(instruction.id)
        elif isinstance(instruction, LookForCode):
            return self._code(instruction.bundle.sha256, lambda: self._store.has(instruction.bundle))
        elif isinstance(instruction, StoreCode):
            return self._store_part(instruction)
        elif isinstance(instruction, RemoveCode):
            for name in self._data_dir.remove_bundles(instruction.keep, self._limits.bundle_keep_s):
                log.info("removed the code of bundle %s, which nobody runs", name[:12])
        elif isinstance(instruction, RemoveJournal):
            self._data_dir.remove_journal(instruction.journal.topology, instruction.journal.name)
        elif isinstance(instruction, AnswerLog):
            self._answer_log(instruction)
        elif isinstance(instruction, Listen):
            self._client.listen(news_address(self._config.coordinator, instruction.port))
        elif isinstance(instruction, Redial):
            self._client.redial()
        elif isinstance(instruction, Note):
            log.log(logging.WARNING if instruction.is_warning else logging.INFO, "%s", instruction.text)
        elif isinstance(instruction, Exit):
            self._is_over, self._refusal = True, instruction.reason
        return None

    def _code(self, sha256: str, look: Callable[[], bool]) -> AgentEvent:
        try:
            return CodeUnpacked(sha256) if look() else CodeMissing(sha256)
        except CodeRefused as error:
            return CodeFailed(sha256, str(error))

    def _store_part(self, part: StoreCode) -> AgentEvent | None:
        try:
            folder = self._store.add(part.sha256, part.data, is_last=part.is_last)
        except CodeRefused as error:
            return CodeFailed(part.sha256, str(error))
        return CodeUnpacked(part.sha256) if folder is not None else None

    def _answer_log(self, instruction: AnswerLog) -> None:
        wanted = instruction.wanted
        path = self._data_dir.log(wanted.topology, f"{wanted.role}-{wanted.index}")
        if not path.is_file():
            answer = LogText("", error=f"{wanted.topology} has no log of {wanted.role} {wanted.index} on this worker")
        else:
            part = TaskLog(path, self._limits.log_bytes_max).part(wanted.offset, min(wanted.bytes_max, CHUNK_BYTES))
            answer = LogText(*part)
        self._client.send(pack(answer, instruction.request))


def own_address(coordinator: str) -> str:
    """Find the address of this host that reaches the coordinator; nothing is sent.

    Raises:
        ClusterError: The coordinator's address isn't one, or its host isn't known.

    >>> own_address("tcp://127.0.0.1:7000")
    '127.0.0.1'
    """
    scheme, _, rest = coordinator.partition("://")
    host, _, port = rest.rpartition(":")
    try:
        if scheme != "tcp" or not host:
            raise ValueError(coordinator)
        family, kind, _, _, where = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(where)
            return str(probe.getsockname()[0])
    except (OSError, ValueError) as error:
        message = (
            f"coordinator address {coordinator!r} can't be used ({error}); expected one such as tcp://10.0.0.1:7000 "
            "whose host is known here; or say which address of this host the others reach (--host)"
        )
        raise ClusterError(message) from error


def bind_pattern(host: str) -> str:
    """Where children bind: any free port of an address.

    >>> bind_pattern("10.0.0.5"), bind_pattern("::1")
    ('tcp://10.0.0.5:*', 'tcp://[::1]:*')
    """
    return f"tcp://[{host}]:*" if ":" in host else f"tcp://{host}:*"
