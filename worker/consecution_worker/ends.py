"""How the end of a child is told: a death with its cause and what was in work, or a good end.

Rules of this module: pure. Only the fault of the work in hand travels with what the crash slot held, so that the guilty
item is charged (R15): a crash, a hung call, too much memory. An order, a stopped process and a flow that can't be
loaded say nothing about an item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.guarantee.messages import Cause
from consecution.process.spawn import how_it_ended
from consecution.wire.cluster.from_worker import LOG_TAIL_CHARS, ChildExit

if TYPE_CHECKING:
    from consecution.wire.cluster.from_worker import ChildId
    from consecution_worker.child import Child
    from consecution_worker.events import ChildExited

STACK_CHARS_MAX = 2048


def exited(child: Child, event: ChildExited, *, host: str, now: float) -> ChildExit:
    """Tell the end of a process; its number is given when it is kept."""
    broke = child.broke
    was_wanted = child.is_wanted and not child.is_released
    is_guilty = was_wanted and broke is None and (child.killed_for is None or child.is_blamed)
    return ChildExit(
        number=0,
        id=event.id,
        incarnation=child.incarnation,
        code=event.code,
        was_wanted=was_wanted,
        runs=event.runs if is_guilty else (),
        is_cut=event.is_cut and is_guilty,
        cause=_cause(child, event, host) if was_wanted or broke is not None or child.killed_for is not None else None,
        broke=broke.kind if broke is not None else "",
        message=broke.message if broke is not None else "",
        traceback=broke.traceback if broke is not None else "",
        log_tail=event.log_tail[-LOG_TAIL_CHARS:],
        age_s=child.age_s(now),
    )


def not_started(child: Child, broke: str, reason: str, *, host: str) -> ChildExit:
    """Tell that a process could not be started."""
    child_id = child.order.id
    cause = Cause(_who(child_id), "NotStarted", reason, host=host)
    return ChildExit(0, child_id, 0, None, was_wanted=child.is_wanted, cause=cause, broke=broke, message=reason)


def _who(child_id: ChildId) -> str:
    return f"{child_id.role}-{child_id.index}"


def _cause(child: Child, event: ChildExited, host: str) -> Cause:
    who = _who(event.id)
    if child.broke is not None:
        kind = f"Broke ({child.broke.kind})"
        return Cause(who, kind, child.broke.message, child.broke.traceback, host=host, process=child.process)
    if child.killed_for is None:
        message = f"{who} on {host} {how_it_ended(event.code)}"
        return Cause(who, "ProcessDied", message, host=host, process=child.process)
    stack = python_stack(event.stack)
    place = innermost_call(stack)
    message = f"{who} on {host} was killed by its worker: {child.killed_for}{'; it was in ' if place else ''}{place}"
    kind = "CallTimeout" if stack else "ProcessKilled"
    return Cause(who, kind, message, traceback=stack[-STACK_CHARS_MAX:], host=host, process=child.process)


def python_stack(text: str) -> str:
    r"""Give the part of a log that holds the stacks, without what the nodes printed before them.

    >>> python_stack('printed\nThread 0x7 (most recent call first):\n  File "/x/flow.py", line 7 in parse\n')[:10]
    'Thread 0x7'
    """
    starts = [place for word in ("Thread 0x", "Current thread 0x") if (place := text.find(word)) >= 0]
    return text[min(starts) :] if starts else ""


def innermost_call(stack: str) -> str:
    r"""Give the innermost line of user code in stacks that `faulthandler` wrote; of ours when there is none.

    >>> innermost_call('Current thread 0x7 (most recent call first):\n  File "/x/flow.py", line 7 in parse\n')
    '/x/flow.py, line 7 in parse'
    """
    main = stack.rpartition("Current thread")[2]  # the main thread handles signals, so it is the current one
    lines = [line.strip() for line in main.splitlines()]
    calls = [line.removeprefix("File ").replace('"', "") for line in lines if line.startswith("File ")]
    users = [line for line in calls if "/consecution/" not in line]
    return (users or calls or [""])[0]
