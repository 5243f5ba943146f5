"""The coordinator's bounds and times, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds unless said otherwise.

    Attributes:
        heartbeat_s: How often workers tell how they stand.
        silent_s: A worker that is silent for this long is dead (R5).
        slept_s: Between two events: more than this and the coordinator itself slept, so all deadlines begin anew.
        adopt_s: After a start, the workers of the store have this long to come back.
        move_s: The new processes of a planned move have this long to be born; then it is given up.
        pause_s: Producers have this long to confirm the pause of a move; then the moving executor is killed (R6).
        cut_off_s: Two workers that don't reach each other for so long, though both are heard, don't share a topology.
        avoid_s: Nothing of that topology is placed again for so long on the worker that gave way.
        stop_s: Processes that aren't wanted have this long to exit, and a worker this long to say so.
        quick_s: A process that ends within this time of being ready, or before, died at once.
        backoff_s: Waiting time before the starts that follow deaths at once; the last one stays.
        guilty_s: A process that died with items in its slot waits at most so long, and so while items go one by one:
            they go alone now, or are charged.
        careful_after: After so many crashes without a guilty item, each within `careful_s`, items go one by one.
        careful_s: Without such a crash for so long they go in batches again.
        failures_max: Deaths at once, one after the other, before a topology that never ran has failed.
        save_s: Counts and positions of producers are saved this often.
        names_max: Topologies that are kept, those that are over included.
        events_max: Lines of a topology's history.
        letters_max: Dead letters kept of a topology.
        workers_max: Workers.
        forget_s: A worker that is gone for so long, and that nothing names, is forgotten.
        push_s: An executor has this long to journal what a client pushes; then the client hears that it is late.
        relay_s: A worker has this long to send a part of a log.
        port_s: A restart waits so long for its port: while nobody was bound there, it may have gone to a connection.
    """

    heartbeat_s: float = 0.5
    silent_s: float = 3.0
    slept_s: float = 1.5
    adopt_s: float = 6.0
    move_s: float = 60.0
    pause_s: float = 10.0
    cut_off_s: float = 6.0
    avoid_s: float = 600.0
    stop_s: float = 10.0
    quick_s: float = 2.0
    backoff_s: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
    guilty_s: float = 1.0
    careful_after: int = 5
    careful_s: float = 120.0
    failures_max: int = 5
    save_s: float = 1.0
    names_max: int = 1_000
    events_max: int = 50
    letters_max: int = 100_000
    workers_max: int = 1_000
    forget_s: float = 3600.0
    push_s: float = 1.5
    relay_s: float = 5.0
    port_s: float = 10.0


DEFAULTS = Limits()
