"""``python -P …/process/__main__.py FD [behind]``: an executor or an acker; started by its parent alone.

Rules of this module: it is run by its path, not by ``-m``, which would load the library before a line of it runs; so it
imports nothing of the library but inside of functions.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1
BEHIND = "behind"
BEHIND_BY = 5  # of nice: a third of the share of whoever wants the processor too


def main() -> int:
    """Run the process on the channel whose file descriptor is the first argument."""
    if len(sys.argv) not in (2, 3) or not sys.argv[1].isdigit():
        sys.stderr.write("consecution.process is started by a worker or by run(mode='processes'), not by hand\n")
        return 2
    import ctypes

    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return 1  # the parent died before we asked to be told
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if sys.argv[2:] == [BEHIND]:
        load_behind()
    run = library()
    channel = socket.socket(fileno=int(sys.argv[1]))
    sys.argv = sys.argv[:1]
    return run(channel)


def library() -> Callable[[socket.socket], int]:
    """Load all that an executor or acker needs; gives what runs it on its end of the channel.

    All of it stays to the end, so the collector looks at none of it: not while it is loaded, which would take a tenth
    of the time, nor in a full collection in the middle of a frame.
    """
    gc.disable()
    try:
        from consecution.process.channel import Channel
        from consecution.process.child import run_child
        from consecution.wire.control import DOWN
    finally:
        gc.enable()
    gc.freeze()
    return lambda end: run_child(Channel(end, DOWN))


def load_behind() -> None:
    """Load the library while others have no use for the processor.

    A spare loads while items are on their way, and takes a core for a quarter of a second. In Linux the share of the
    processor is a thread's own, and may only be lessened: so a thread does it that ends with it.
    """

    def load() -> None:
        with contextlib.suppress(OSError):  # a sandbox may know no such class: the smaller share does most of it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        os.nice(BEHIND_BY)
        library()

    thread = threading.Thread(target=load, name="consecution-load")
    thread.start()
    thread.join()


if __name__ == "__main__":
    sys.exit(main())
