"""Starting executors and ackers.

Rules of this module: by exec, never by fork alone (a forked child's ZeroMQ sockets lose what they send); no file but
the channel is inherited. The child dies with its parent: by the closed channel, and by the kernel's word when it is
deep in user code. A process may be started before anybody knows what it will be (`Spare`): Python and the library take
a third of a second to load, and longer on a machine that is busy with what a death has left.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from consecution.process import __main__ as entry
from consecution.process.channel import Channel
from consecution.wire.control import UP, Begin, Up

if TYPE_CHECKING:
    from collections.abc import Mapping


class ChildProcess:
    """A child as its parent sees it.

    Attributes:
        begin: What it was told first.
        channel: To and from it.
        process: Its process.
    """

    def __init__(self, begin: Begin, channel: Channel[Up], process: subprocess.Popen[bytes]) -> None:
        self.begin = begin
        self.channel = channel
        self.process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self.process.poll()

    def kill(self) -> None:
        """End it at once (SIGKILL); the slot tells what it had in work."""
        if self.process.poll() is None:
            self.process.kill()

    def dump_stack(self) -> None:
        """Let it write the Python stack of all of its threads to its log."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)

    def close(self) -> None:
        """Reap it, killing it when it still lives."""
        self.kill()
        self.process.wait()
        self.channel.close()


class Spare:
    """A process that has loaded the library, or still does, and waits for its first word.

    Args:
        log: Where its stdout and stderr go; None: to the parent's.
        env: Its environment; None: the parent's.
        is_awaited: Somebody waits for it; else it loads the library behind who has work to do.

    Raises:
        OSError: It can't be started.
    """

    def __init__(
        self, *, log: IO[bytes] | int | None = None, env: Mapping[str, str] | None = None, is_awaited: bool = False
    ) -> None:
        mine, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    entry.__file__,
                    str(theirs.fileno()),
                    *(() if is_awaited else (entry.BEHIND,)),
                ],  # -P: no module of the folder
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_with_library(os.environ if env is None else env),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is the parent's to answer
            )
        except BaseException:
            mine.close()
            raise
        finally:
            theirs.close()
        self._channel: Channel[Up] = Channel(mine, UP)

    @property
    def is_alive(self) -> bool:
        """Whether it waits."""
        return self._process.poll() is None

    def begin(self, begin: Begin) -> ChildProcess:
        """Make it a child; it says `Born` on its channel when it has bound its socket."""
        self._channel.send(begin)
        return ChildProcess(begin, self._channel, self._process)

    def close(self) -> None:
        """End it; it has done nothing."""
        self._process.kill()
        self._process.wait()
        self._channel.close()


def spawn(
    begin: Begin,
    *,
    log: IO[bytes] | int | None = None,
    env: Mapping[str, str] | None = None,
    is_awaited: bool = True,
) -> ChildProcess:
    """Start an executor or an acker.

    Args:
        begin: Its first message.
        log: Where its stdout and stderr go; None: to the parent's.
        env: Its environment; None: the parent's.
        is_awaited: As of `Spare`.

    Raises:
        OSError: It can't be started.
    """
    return Spare(log=log, env=env, is_awaited=is_awaited).begin(begin)


def _with_library(env: Mapping[str, str]) -> dict[str, str]:
    """An environment in which this library is found."""
    environment = dict(env)
    library = str(Path(__file__).resolve().parents[2])
    path = environment.get("PYTHONPATH", "")
    if library not in path.split(os.pathsep) and library not in _site_folders():
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (path, library)))
    return environment


def _site_folders() -> list[str]:
    return [str(Path(entry).resolve()) for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]


def how_it_ended(code: int) -> str:
    """Say in words how a process ended.

    >>> how_it_ended(-9)
    'killed by signal 9 (SIGKILL; out of memory?)'
    >>> how_it_ended(0)
    'exited with code 0 in the middle of its work (os._exit?)'
    """
    if code >= 0:
        return f"exited with code {code} in the middle of its work (os._exit?)"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    note = {"SIGKILL": "; out of memory?", "SIGSEGV": "; a segmentation fault in native code"}.get(name, "")
    return f"killed by signal {-code} ({name}{note})"
