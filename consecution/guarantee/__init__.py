"""The guarantee as pure cores: ids, running words, the ledger, the producer's window. No clock, no socket, no file."""
