"""The way from the executors of one topology to the journal of the next; see docs/adr/0016."""
