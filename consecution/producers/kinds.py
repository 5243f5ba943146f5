"""The kinds that ``Producer(kind=…)`` knows."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from consecution.errors import GraphError, short_repr

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.producers.base import Producer

# Imported when asked for: a pipe needs no cron.
KINDS = {
    "pipe": ("consecution.producers.pipe", "PipeProducer"),
    "generator": ("consecution.producers.generator", "GeneratorProducer"),
    "cursor": ("consecution.producers.cursor", "CursorProducer"),
    "manual": ("consecution.producers.pusher", "Pusher"),
    "interval": ("consecution.producers.timed", "IntervalProducer"),
    "http": ("consecution.producers.http", "HttpProducer"),
    "tcp": ("consecution.producers.tcp", "TcpProducer"),
    "scheduled": ("consecution.producers.timed", "ScheduledProducer"),
}


def class_of_kind(kind: object) -> Callable[..., Producer]:
    """Give the class of a kind.

    Raises:
        GraphError: There is no such kind.

    >>> class_of_kind("manual").__name__
    'Pusher'
    """
    found = KINDS.get(kind) if isinstance(kind, str) else None
    if found is None:
        kinds = ", ".join(repr(known) for known in KINDS)
        msg = f"Producer(kind={short_repr(kind)}): expected one of {kinds}; or subclass Producer for one of your own"
        raise GraphError(msg)
    module, name = found
    made: Callable[..., Producer] = getattr(import_module(module), name)
    return made
