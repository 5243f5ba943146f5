"""What a worker is told when it is started, and the bounds that it keeps.

Rules of this module: values only; files, environment and flags are merged by the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How a worker runs.

    Attributes:
        coordinator: Address of the coordinator for questions, such as ``tcp://10.0.0.1:7000``.
        data_dir: Folder of this worker alone: code, logs, journals. Made when it isn't there.
        name: Unique in the cluster; "" for the host's name.
        slots: Executors that it runs at once; 0 for one for each core.
        host: Address that other workers reach this host by; "" to find the one that reaches the coordinator.
        keys: File of this worker's CURVE keys; None without encryption.
        coordinator_key: The coordinator's public key; needed with `keys`.
        memory_limit_bytes: Of one executor; None for no limit.
        spares: Processes that have loaded the library and wait to take a dead one's place, some 25 MB each; None for
            `slots` + 1, `Limits.spares_max` at most.
        is_insecure: Lets executors be bound off loopback without keys.
    """

    coordinator: str
    data_dir: Path
    name: str = ""
    slots: int = 0
    host: str = ""
    keys: Path | None = None
    coordinator_key: bytes | None = None
    memory_limit_bytes: int | None = None
    spares: int | None = None
    is_insecure: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds and times of an agent; the defaults fit a cluster, tests make them short.

    Attributes:
        heartbeat_interval_s: Between two heartbeats.
        redial_s: After this long without a word of the coordinator its connection is made anew, and again each half of
            it. The kernel would try a connection that was cut again later and later, long after the cut has healed.
        silence_s: After this long without a word of the coordinator the agent says so, and asks for what it missed.
        register_interval_s: Between two tries to register.
        stopped_s: A child that is stopped (SIGSTOP) for longer is killed, so that it is replaced.
        stack_s: Time that a hung child has to write its Python stack, before it is killed.
        leave_s: Time that the coordinator has to move the work of a worker that leaves.
        born_s: Time that a child has from its start to its first word; it imports the flow before.
        fetch_again_s: An unanswered question for a piece of code is asked again.
        log_bytes_max: Size at which a log is rotated; one older part is kept.
        log_tail_bytes: How much of a log travels with an exit.
        spares_max: Spare processes that a worker has, unless it was told how many.
        bundle_keep_s: Code that nobody runs is removed after this long.
        bundle_bytes_max: Largest bundle that is fetched.
    """

    heartbeat_interval_s: float = 0.5
    redial_s: float = 1.0
    silence_s: float = 3.0
    register_interval_s: float = 1.0
    stopped_s: float = 5.0
    stack_s: float = 0.5
    leave_s: float = 10.0
    born_s: float = 300.0
    fetch_again_s: float = 2.0
    log_bytes_max: int = 10 << 20
    log_tail_bytes: int = 8 << 10
    spares_max: int = 6
    bundle_keep_s: float = 3600.0
    bundle_bytes_max: int = 64 << 20
