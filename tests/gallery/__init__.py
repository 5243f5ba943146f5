"""The pictures of the examples: which there are, and how they are drawn."""
