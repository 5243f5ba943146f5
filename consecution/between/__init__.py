"""Consecutors joined with each other: their outputs, inputs, the operators between them, and the group they form."""
