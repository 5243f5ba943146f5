"""``python -m consecution.process FD``: an executor or an acker; started by its parent alone."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

from consecution.process.channel import Channel
from consecution.wire.control import DOWN, Down

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run the process on the channel whose file descriptor is the only argument."""
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.stderr.write("consecution.process is started by a worker or by run(mode='processes'), not by hand\n")
        return 2
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return 1  # the parent died before we asked to be told
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    channel: Channel[Down] = Channel(socket.socket(fileno=int(sys.argv[1])), DOWN)
    sys.argv = sys.argv[:1]
    return library()(channel)


def library() -> Callable[[Channel[Down]], int]:
    """Load all that an executor or acker needs; gives what runs it.

    All of it stays to the end, so the collector looks at none of it: not while it is loaded, which would take a tenth
    of the time, nor in a full collection in the middle of a frame.
    """
    gc.disable()
    try:
        from consecution.process.child import run_child
    finally:
        gc.enable()
    gc.freeze()
    return run_child


if __name__ == "__main__":
    sys.exit(main())
