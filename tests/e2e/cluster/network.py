"""Hosts of a test's own: network namespaces, each on a bridge in a namespace that is nobody's host.

Rules of this module: every name and address carries a random number, so that two tests can run at once; nothing is
changed outside of these namespaces but one interface of the test's own, which is removed with them.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from dataclasses import dataclass, field

HUB = "hub"
TEST = "test"


def run(*command: str) -> None:
    """Run a command; its complaint is the error's."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{' '.join(command)}: {done.stderr.strip()}"
        raise OSError(message)


def is_possible() -> bool:
    """Whether namespaces can be made here."""
    try:
        with Network(("probe",)):
            return True
    except OSError:
        return False


@dataclass
class Network:
    """Hosts that reach each other, and that the test reaches; close it.

    Args:
        hosts: Their names.
    """

    hosts: tuple[str, ...]
    number: int = field(default_factory=lambda: secrets.randbelow(50_000))
    _cuts: set[frozenset[str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self) -> None:
        hub = self.namespace(HUB)
        run("ip", "netns", "add", hub)
        run("ip", "-n", hub, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", hub, "link", "set", "bridge", "up")
        for place, host in enumerate((TEST, *self.hosts)):
            port, end = f"cx{self.number}p{place}", f"cx{self.number}e{place}"
            run("ip", "link", "add", end, "type", "veth", "peer", "name", port, "netns", hub)
            run("ip", "-n", hub, "link", "set", port, "master", "bridge", "up")
            if host == TEST:
                at: tuple[str, ...] = ("ip",)
            else:
                run("ip", "netns", "add", self.namespace(host))
                run("ip", "link", "set", end, "netns", self.namespace(host))
                at = ("ip", "-n", self.namespace(host))
                run(*at, "link", "set", "lo", "up")
            run(*at, "address", "add", f"{self.address(host)}/24", "dev", end)
            run(*at, "link", "set", end, "up")

    def namespace(self, host: str) -> str:
        """Name of a host's namespace."""
        return f"cx{self.number}-{host}"

    def address(self, host: str) -> str:
        """Address of a host."""
        last = 1 + (TEST, *self.hosts).index(host)
        return f"10.{64 + self.number // 250 % 128}.{self.number % 250}.{last}"

    def enter(self, host: str) -> list[str]:
        """What comes before a command that is to run on a host; it is executed in its place, under the same pid."""
        return ["ip", "netns", "exec", self.namespace(host)]

    def cut(self, one: str, other: str) -> None:
        """Let nothing pass between two hosts."""
        for here, there in ((one, other), (other, one)):
            run("ip", "-n", self.namespace(here), "route", "add", "blackhole", f"{self.address(there)}/32")
        self._cuts.add(frozenset((one, other)))

    def heal(self, one: str, other: str) -> None:
        """Let all pass again."""
        for here, there in ((one, other), (other, one)):
            run("ip", "-n", self.namespace(here), "route", "del", "blackhole", f"{self.address(there)}/32")
        self._cuts.discard(frozenset((one, other)))

    def reset(self, one: str, other: str) -> None:
        """Reset every connection between two hosts."""
        run(*self.enter(one), "ss", "-K", "dst", self.address(other))

    def close(self) -> None:
        """Remove all of it; what isn't there is fine."""
        with contextlib.suppress(OSError):
            run("ip", "link", "del", f"cx{self.number}e0")
        for host in (*self.hosts, HUB):
            with contextlib.suppress(OSError):
                run("ip", "netns", "del", self.namespace(host))
