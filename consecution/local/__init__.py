"""Runs a pipeline on one machine: in one thread or in several. Thin shells round the pure cores."""
