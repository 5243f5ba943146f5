"""The worker: the agent on a host. It fetches code, starts executors and ackers, and watches them."""
