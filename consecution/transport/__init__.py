"""Reliable links between incarnations, over memory or ZeroMQ."""
