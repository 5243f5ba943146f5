"""What a command's exit code says."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of ``consecution``; scripts may rely on them.

    Attributes:
        DONE: All items are completed, or the command did what it was asked for.
        ERROR: It could not be done: a journal, a source or a disk; the message says what to do.
        USAGE: The command line is wrong.
        SOME_FAILED: The run is over, and some items failed or a state was lost.
        BAD_FLOW: The flow can't be imported, or its graph is wrong.
        UNREACHABLE: No cluster answers at the address, or it can't take the flow.
        INTERRUPTED: Stopped by Ctrl-C or a signal before all was done (128 + SIGINT); the next run goes on from there.
        READER_GONE: What read our stdout has gone, as `head` does (128 + SIGPIPE).
    """

    DONE = 0
    ERROR = 1
    USAGE = 2
    SOME_FAILED = 3
    BAD_FLOW = 4
    UNREACHABLE = 5
    INTERRUPTED = 130
    READER_GONE = 141
