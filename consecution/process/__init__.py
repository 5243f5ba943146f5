"""Processes of a topology: executors and ackers, the pair of sockets to their parent, and mode "processes"."""
