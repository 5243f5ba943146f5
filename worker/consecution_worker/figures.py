"""What psutil says of the host and of the children.

Rules of this module: a process that is gone in between has no figures; its exit is told elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from consecution.wire.cluster.from_worker import HostFigures
from consecution_worker.events import ChildFigures

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from consecution.wire.cluster.from_worker import ChildId

STOPPED = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})


class Figures:
    """Reads figures; shares of a core are those since the last look.

    Args:
        folder: The worker's folder, for the free space of its disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[int, psutil.Process] = {}
        psutil.cpu_percent(None)  # the first answer is without meaning

    def host(self) -> HostFigures:
        """How the host stands."""
        memory = psutil.virtual_memory()
        return HostFigures(
            cores=psutil.cpu_count() or 1,
            memory_bytes=memory.total,
            memory_free_bytes=memory.available,
            cpu=psutil.cpu_percent(None) / 100,
            disk_free_bytes=psutil.disk_usage(str(self._folder)).free,
        )

    def children(self, pids: Mapping[ChildId, int]) -> dict[ChildId, ChildFigures]:
        """How the children stand."""
        found: dict[ChildId, ChildFigures] = {}
        for child_id, pid in pids.items():
            try:
                process = self._processes.get(pid) or self._processes.setdefault(pid, psutil.Process(pid))
                with process.oneshot():
                    found[child_id] = ChildFigures(
                        memory_bytes=process.memory_info().rss,
                        cpu=process.cpu_percent(None) / 100,
                        is_stopped=process.status() in STOPPED,
                    )
            except psutil.Error:
                continue
        living = set(pids.values())
        self._processes = {pid: process for pid, process in self._processes.items() if pid in living}
        return found
