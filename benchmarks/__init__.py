"""What Consecution costs on one machine, beside the plain Python loop that does the same work.

``python -m benchmarks`` prints the table; docs/benchmarks.md says what bounds each figure. Every run is a process of
its own, checks its result, and tells its seconds, its processor seconds and its peak memory.
"""
