"""How a run over processes is set up: how many, where the flow is, what joins it to others, and what can be placed.

Rules of this module: values that are fixed before the run begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from consecution.local.notices import NOBODY, Audience

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.flow import FlowAddress
    from consecution.producers.base import Producer
    from consecution.producers.handover import Handover
    from consecution.report import Report


@dataclass(frozen=True, slots=True)
class ProcessesSettings:
    """What mode "processes" needs beside the settings of the run.

    Attributes:
        flow: Where children find the flow.
        workers: Executors.
        says_workers: The user named that number, and is told when there are fewer tasks.
        call_timeout_s: Of one call of user code.
        fresh: Move a journal that is there aside.
        can_place: The flow itself links the producers, so that a child has them too.
    """

    flow: FlowAddress
    workers: int
    call_timeout_s: float
    fresh: bool
    can_place: bool
    says_workers: bool = False


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What joins a run to those of other consecutors.

    Attributes:
        handovers: Where the doors of its graph lead, in their order.
        audience: Who is told of its outcomes.
        has_ended: Called with its report when all is done; gives whether its journal may be released, and waits until
            that is known.
        starts_over: Called when its pass begins anew: what it pushed is pushed again.
    """

    handovers: Sequence[Handover] = ()
    audience: Audience = NOBODY
    has_ended: Callable[[Report], bool] | None = None
    starts_over: Callable[[], None] | None = None


def can_be_placed(producer: Producer) -> bool:
    """Whether an executor can read it as well: it opens its source itself, or is a range."""
    if not producer.lives_in_caller:
        return True
    return isinstance(getattr(producer, "_rows", None), range)
