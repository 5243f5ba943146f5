"""The coordinator of a cluster: who is there, what runs where, and what becomes of it when someone dies.

Rules of this package: user code is never imported here. `state` and what it uses are pure: events go in, instructions
come out, time is an argument. Only `service`, `store` and `bundles` touch sockets and disks.
"""
