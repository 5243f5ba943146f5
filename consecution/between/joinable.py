"""What stands between ``|``, ``<`` and ``>`` where consecutors are joined: consecutors, their outputs and inputs.

Rules of this module:
1. In the middle of an expression a consecutor takes by its only entry and gives by its default output;
   ``cons.output["a"]`` takes by the entry and gives by that output; ``cons.input["x"]`` takes by that entry node.
2. ``x | cons`` and ``x | cons.input["x"]`` give cons, so that what an expression ends in can be run.
3. What is refused is refused before anything is linked, and the message says what to write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NoReturn, TypeVar, overload

from consecution.between.links import FAILED, Entry, Exit, is_async_output, link_all
from consecution.errors import GraphError, short_repr
from consecution.graph.slot import DEFAULT_OUTPUT
from consecution.graph.source import Rows, Source
from consecution.graph.view import Composable, Endpoint, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consecution.consecutor import Consecutor

JoinableT = TypeVar("JoinableT", bound="Joinable")


@dataclass(frozen=True, slots=True)
class Reach:
    """Where something that stands in an expression takes items, and where it gives them."""

    entries: tuple[Entry, ...]
    exits: tuple[Exit, ...]


class Joinable(Endpoint):
    """Base of what can be joined; see the rules of the module."""

    __slots__ = ()
    __array_ufunc__: ClassVar[None] = None  # else numpy makes one link for each element of an array
    __pandas_priority__: ClassVar[int] = 10_000

    @property
    def reach(self) -> Reach:
        """Where it takes items and where it gives them."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """How messages call it."""
        raise NotImplementedError

    @property
    def _given(self) -> Joinable:
        """What ``x | self`` gives."""
        return self

    @overload
    def __or__(self, right: Input) -> Consecutor: ...

    @overload
    def __or__(self, right: JoinableT) -> JoinableT: ...

    @overload
    def __or__(self, right: Sequence[object]) -> Several: ...

    def __or__(self, right: object) -> object:
        """Link what it gives to what stands on the right."""
        from consecution.between.chains import note_link

        left = self.reach
        if isinstance(right, (list, tuple)):
            several = Several(read_list(right, f"{self.label} |"))
            link_all(left.exits, several.reach.entries)
            return several
        if not isinstance(right, Joinable):
            refuse_right(self, right)
        link_all(left.exits, right.reach.entries)
        given = right._given
        note_link(self, left, given)
        return given

    def __ror__(self, left: object) -> Joinable:
        """Feed a producer, items, or what a list of outputs gives, into the one entry."""
        if isinstance(left, (list, tuple)) and any(isinstance(part, Endpoint) for part in left):
            parts = read_list(left, f"| {self.label}")
            link_all([one for part in parts for one in part.reach.exits], self.reach.entries)
            return self._given
        for entry in self.reach.entries:
            source = left if isinstance(left, Source) else self._rows(left)
            entry.consecutor.feed(source, entry)
        return self._given

    def _rows(self, left: object) -> Source:
        if isinstance(left, Composable):
            name = describe(left)
            message = (
                f"{name} is a node, and {self.label} is no node: link {name} inside of a consecutor, as in "
                f"Consecutor({name} | …), or make a second one, Consecutor({name}) | {self.label}"
            )
            raise GraphError(message)
        return Rows.of(left, self.label)

    def __lt__(self, right: object) -> Joinable:
        """Open ``self < branches``, or close ``… < branches > self``."""
        from consecution.between.chains import less

        return less(self, right)

    def __gt__(self, right: object) -> NoReturn:
        from consecution.between.chains import refuse_greater

        refuse_greater(self, right)

    def __le__(self, right: object) -> NoReturn:
        self._refuse_comparison("<=", right)

    def __ge__(self, right: object) -> NoReturn:
        self._refuse_comparison(">=", right)

    def _refuse_comparison(self, sign: str, right: object) -> NoReturn:
        message = f"{self.label} {sign} {name_of(right)}: consecutors have no order; `|` links them: write a | b"
        raise GraphError(message)


class Output(Joinable):
    """One output of a consecutor: ``cons.output["a"] | other``.

    Attributes:
        consecutor: Whose output it is.
        name: Its name; "failed" for the dead letters.
        is_failed: It gives dead letters.
        is_async: It was declared by ``add_async_output``.
    """

    __slots__ = ("consecutor", "is_async", "is_failed", "name")

    def __init__(self, consecutor: Consecutor, name: str, *, is_failed: bool = False) -> None:
        self.consecutor = consecutor
        self.name = name
        self.is_failed = is_failed
        self.is_async = not is_failed and is_async_output(consecutor, name)

    def __repr__(self) -> str:
        """Name it."""
        return f"<Output {self.label}>"

    @property
    def reach(self) -> Reach:
        """In by the consecutor's entry, out by this output."""
        return Reach((Entry(self.consecutor),), (Exit(self.consecutor, self.name, self.is_failed),))

    @property
    def label(self) -> str:
        """As it is written."""
        if self.is_failed:
            return f"{self.consecutor.name}.{FAILED}"
        return f"{self.consecutor.name}.output[{self.name!r}]"


class Input(Joinable):
    """One entry node of a consecutor: ``cons.output["a"] | other.input["parse"]``."""

    __slots__ = ("consecutor", "node")

    def __init__(self, consecutor: Consecutor, node: str) -> None:
        self.consecutor = consecutor
        self.node = node

    def __repr__(self) -> str:
        """Name it."""
        return f"<Input {self.label}>"

    @property
    def reach(self) -> Reach:
        """In by this node, out by the default output."""
        return Reach((Entry(self.consecutor, self.node),), (Exit(self.consecutor),))

    @property
    def label(self) -> str:
        """As it is written."""
        return f"{self.consecutor.name}.input[{self.node!r}]"

    @property
    def _given(self) -> Joinable:
        return self.consecutor

    def __ror__(self, left: object) -> Consecutor:
        """Feed a producer, items or outputs into this node; gives the consecutor."""
        super().__ror__(left)
        return self.consecutor


class Several(Joinable):
    """Branches: what ``cons | [a, b]`` gives."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Joinable, ...]) -> None:
        self.parts = parts

    def __repr__(self) -> str:
        """Name the branches."""
        return f"<Branches {self.label}>"

    @property
    def reach(self) -> Reach:
        """In by all branches, out by all of them."""
        reaches = [part.reach for part in self.parts]
        return Reach(
            tuple(entry for one in reaches for entry in one.entries), tuple(e for one in reaches for e in one.exits)
        )

    @property
    def label(self) -> str:
        """As it is written."""
        return f"[{', '.join(part.label for part in self.parts)}]"


class Outputs(Mapping[str, Output]):
    """The outputs of a consecutor by name: "default", and all that its nodes declare."""

    __slots__ = ("_consecutor",)

    def __init__(self, consecutor: Consecutor) -> None:
        self._consecutor = consecutor

    def __getitem__(self, name: str) -> Output:
        """Give one output.

        Raises:
            GraphError: No node declares it.
        """
        if name not in self._names():
            listed = ", ".join(map(repr, self._names()))
            message = (
                f"no node of consecutor {self._consecutor.name} declares output {short_repr(name)}; it has {listed}; "
                "a node declares one with self.add_output(name) in its __init__"
            )
            raise GraphError(message)
        return Output(self._consecutor, name)

    def _names(self) -> list[str]:
        return [DEFAULT_OUTPUT, *(one.name for one in self._consecutor.dag.declared)]

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return iter(self._names())

    def __len__(self) -> int:
        """How many there are."""
        return len(self._names())


class Inputs(Mapping[str, Input]):
    """The entry nodes of a consecutor, by name."""

    __slots__ = ("_consecutor",)

    def __init__(self, consecutor: Consecutor) -> None:
        self._consecutor = consecutor

    def __getitem__(self, name: str) -> Input:
        """Give one entry.

        Raises:
            GraphError: No entry node has this name.
        """
        names = list(self)
        if name not in names:
            listed = ", ".join(map(repr, names)) or "none"
            message = (
                f"consecutor {self._consecutor.name} has no entry node {short_repr(name)}; expected one of {listed}"
            )
            raise GraphError(message)
        return Input(self._consecutor, name)

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        dag = self._consecutor.dag
        return iter([dag.names[place] for place in dag.entries])

    def __len__(self) -> int:
        """How many there are."""
        return len(self._consecutor.dag.entries)


def read_list(parts: Sequence[object], near: str) -> tuple[Joinable, ...]:
    """Read a list of consecutors and outputs.

    Raises:
        GraphError: It is empty, or holds something else.
    """
    if not parts:
        message = f"the list beside `{near}` is empty; expected consecutors or outputs, as in [a, b.output['x']]"
        raise GraphError(message)
    for part in parts:
        if not isinstance(part, Joinable):
            where = f"in the list beside `{near}`"
            message = f"{name_of(part)} {where} is neither a consecutor nor an output of one; {cure(part)}"
            raise GraphError(message)
    return tuple(part for part in parts if isinstance(part, Joinable))


def refuse_right(left: Joinable, right: object) -> NoReturn:
    """Raise for what no consecutor's items can go to."""
    message = f"`{left.label} | {name_of(right)}`: expected a consecutor on the right; {cure(right)}"
    raise GraphError(message)


def cure(thing: object) -> str:
    """Say what to write instead of something that isn't joinable."""
    if isinstance(thing, Source):
        return "a producer begins a flow: write it on the left"
    if isinstance(thing, Composable) or (callable(thing) and not isinstance(thing, type)):
        name = describe(thing)
        return f"make a consecutor of it, Consecutor({name}), or link {name} inside of the first one's graph"
    if thing is None:
        return "was a `return` forgotten?"
    return "write Consecutor(graph), cons.output['a'] or cons.input['node']"


def name_of(thing: object) -> str:
    """Name anything for a message."""
    if isinstance(thing, Joinable):
        return thing.label
    if isinstance(thing, (list, tuple)):
        return f"[{', '.join(map(name_of, thing[:4]))}{', …' if len(thing) > 4 else ''}]"
    if isinstance(thing, Composable) or callable(thing):
        return describe(thing)
    return short_repr(thing)
