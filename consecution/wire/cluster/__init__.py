"""What workers and clients tell the coordinator, and what it answers.

Rules of this module: values only, packed by ``consecution.wire.plain`` and wrapped in a `Parcel`, which never changes,
so that two versions can at least tell each other that they differ. Nothing here is reliable by itself; what must arrive
is a *state* that is told again until it is confirmed:

1. Down to a worker: `Wanted`, numbered, the whole of what must run there. Told when it changes and again to a worker
   whose `Heartbeat.wanted` lags. A worker starts what is wanted and doesn't run, ends what runs and isn't wanted, and
   starts nothing twice under one `ChildId`: a new attempt is a new id.
2. Up from a worker: `Heartbeat`, each second and at once when something happened. It holds the newest state of each
   child; exits and dead letters stay in it until `Heard` confirms them by number.
3. Placements: `PlacementNews` when one changes, `NumbersNews` each second (both published, both may be missed); who
   lags, or hears nothing for three seconds, sends `AskPlacement`.
4. Clients: a question and its answer carry the same request id; a client that hears nothing asks again under that id.
   `Submit` is known by its ``submission``: asked twice, it is done once.

A session of a worker: Register -> Registered (or Refused, RegisterAgain later) -> Heartbeat/Heard and Wanted, for ever.
"""
