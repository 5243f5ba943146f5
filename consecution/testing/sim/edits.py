"""A scenario made smaller: what is left of a seed, as data that fits on a command line.

Rules of this module: an `Edits` says what is kept or made plain; applied to the scenario of its seed it always gives
the same run. Whatever it takes away, the rest still is a possible run.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from consecution.testing.sim.flows import GOOD, PASS
from consecution.testing.sim.network import CALM
from consecution.testing.sim.scenario import Family, Scenario, scenario_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Edits:
    """What is left of a seed.

    Attributes:
        seed: Which.
        family: Of which family; its name.
        faults: Places of the faults that are kept; None: all.
        items: Numbers of the items that are kept; None: all.
        good: Numbers of bad items that are made good.
        without: Names of nodes that are taken out.
        plain: Names of nodes that just pass values on, in one task.
        calm: Packets are neither late nor lost.
        executors: At most so many.
        ackers: At most so many.
        hosts: At most so many.
    """

    seed: int
    family: str = Family.REPLAY.value
    faults: tuple[int, ...] | None = None
    items: tuple[int, ...] | None = None
    good: tuple[int, ...] = ()
    without: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    calm: bool = False
    executors: int = 99
    ackers: int = 99
    hosts: int = 99

    def scenario(self) -> Scenario | None:
        """The run that is left; None when that is none."""
        scenario = scenario_of(self.seed, Family(self.family))
        flow = scenario.flow
        for name in self.without:
            if name not in {node.name for node in flow.nodes}:
                return None
            smaller = flow.without_node(name)
            if smaller is None:
                return None
            flow = smaller
        nodes = tuple(
            replace(node, kind=PASS, parallelism=1, grouping="", routes=False, every_s=0.0, is_async=False, sums=False)
            if node.name in self.plain
            else node
            for node in flow.nodes
        )
        items = tuple(
            replace(item, kind=GOOD) if item.number in self.good else item
            for item in flow.items
            if self.items is None or item.number in self.items
        )
        flow = replace(flow, nodes=nodes, items=items)
        if not all(flow.of(name) for name, _ in flow.producers):
            return None  # a producer without items
        kept = self.faults
        faults = tuple(one for place, one in enumerate(scenario.faults) if kept is None or place in kept)
        return replace(
            scenario,
            flow=flow,
            faults=faults,
            storm=CALM if self.calm else scenario.storm,
            control_loss=0.0 if self.calm else scenario.control_loss,
            news_loss=0.0 if self.calm else scenario.news_loss,
            n_executors=min(scenario.n_executors, self.executors),
            n_ackers=min(scenario.n_ackers, self.ackers),
            n_hosts=min(scenario.n_hosts, self.hosts),
        )

    def command(self) -> str:
        """What to type to run it again."""
        words = [f"python -m consecution.testing.sim run {self.seed}"]
        plain = Edits(self.seed)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "seed" or value == getattr(plain, field.name):
                continue
            if value is True:
                words.append(f"--{field.name}")
            elif isinstance(value, tuple):
                words.append(f"--{field.name}={','.join(map(str, value))}")
            else:
                words.append(f"--{field.name}={value}")
        return " ".join(words)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a parser read what `Edits.command` wrote."""
    parser.add_argument("seed", type=int)
    add_family(parser)
    for name in ("faults", "items", "good"):
        parser.add_argument(f"--{name}", type=_numbers, metavar="N,N")
    for name in ("without", "plain"):
        parser.add_argument(f"--{name}", type=_names, metavar="NODE,NODE")
    parser.add_argument("--calm", action="store_true")
    for name in ("executors", "ackers", "hosts"):
        parser.add_argument(f"--{name}", type=int, metavar="N")


def add_family(parser: argparse.ArgumentParser) -> None:
    """Let a parser read which family is meant."""
    plain = Family.REPLAY.value
    parser.add_argument(
        "--family", choices=[family.value for family in Family], default=plain, help=f"default: {plain}"
    )


def edits_of(arguments: argparse.Namespace) -> Edits:
    """What was read."""
    given = {field.name: getattr(arguments, field.name) for field in fields(Edits)}
    return Edits(**{name: value for name, value in given.items() if value is not None})


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(",") if word)


def _names(text: str) -> Sequence[str]:
    return tuple(word for word in text.split(",") if word)
