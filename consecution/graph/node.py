"""Node: a step of a pipeline, which users subclass.

Rules of this module:
1. A node object is a template. Runs work with copies (instantiate.py); the template never changes.
2. All of our state lives in ``_slot`` and ``_push``, made in ``__new__``; a subclass need not call our ``__init__``.
3. ``output``, ``async_output``, ``downstream`` and ``push`` can't be assigned: a user's attribute never changes ours.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, Self

from consecution.errors import GraphError, short_repr

from .naming import check_name
from .options import NodeOptions
from .ports import Downstream, Outputs
from .slot import DEFAULT_OUTPUT
from .view import Vertex, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

_OURS = ("output", "async_output", "downstream", "push")


def _refuse(name: str) -> Callable[[Node, object], NoReturn]:
    def assign(node: Node, value: object) -> NoReturn:
        msg = (
            f"{describe(node)}: self.{name} = {short_repr(value)} would hide Consecution's {name}; "
            f"choose another name, such as self.my_{name}"
        )
        raise GraphError(msg)

    return assign


class Node(Vertex):
    """A step of a pipeline: subclass it, take items in ``process`` and ``push`` what goes on.

    Args:
        name: Unique in its Dag; None takes the class's name in snake case.
        parallelism: Number of tasks that run it.
        key: Field name, index or function; items with an equal key reach the same task.
        grouping: How items spread over its tasks ("shuffle", "key", "all", "global", "local", "partial_key").
        concurrency: Items that an async node awaits at the same time, of whatever batches they are.
        ordered: Whether an async node keeps the order of its inputs; what goes round it in the same task may overtake.
        process_timeout_s: Seconds that one item may take in an async node (one batch in ``async process_batch``); then
            it is cancelled and fails with a TimeoutError. Synchronous code can't be interrupted.
        every: Time between two calls of ``on_timer``, also while no item comes; never in the middle of a call, but
            maybe while an async node awaits items.

    Raises:
        GraphError: An option is out of its range.

    >>> class Double(Node):
    ...     def process(self, item):
    ...         self.push(item * 2)
    >>> flow = [1, 2, 3] | Double("twice")
    """

    __slots__ = ("_push",)
    _push: Callable[..., None]
    items_held_max: int = 1000
    """Most items that one task of a holder keeps open; a node that overrides ``flush`` says its own."""
    needs_no_timer: bool = False
    """Whether a class with an ``on_timer`` may be used without ``every=``; else that is an error, as it never fires."""

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Make the instance with our slot; see rule 2."""
        self = super().__new__(cls, *args, **kwargs)
        self._push = self._slot.push
        return self

    def __init__(
        self,
        name: str | None = None,
        *,
        parallelism: int = 1,
        key: str | int | Callable[[Any], Any] | None = None,
        grouping: str | None = None,
        concurrency: int = 16,
        ordered: bool = True,
        process_timeout_s: float | None = None,
        every: timedelta | None = None,
    ) -> None:
        if name is not None:
            self._slot.name = check_name(name)
        try:
            self._slot.options = NodeOptions(parallelism, key, grouping, concurrency, ordered, process_timeout_s, every)
        except GraphError as error:
            msg = f"{describe(self)}: {error}"
            raise GraphError(msg) from None

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for name in _OURS:
            if name in vars(cls):
                msg = f"class {cls.__name__} defines {name}, which is Consecution's; choose another name"
                raise GraphError(msg)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {describe(self)}>"

    def __copy__(self) -> Self:
        """Give an unlinked node that shares this one's attributes."""
        from .instantiate import copy_unlinked

        return copy_unlinked(self, lambda _, value: value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Give an unlinked node with copies of this one's attributes."""
        from .instantiate import deep_copy

        return deep_copy(self, memo)

    # -- what users override

    def setup(self) -> None:
        """Open what the node needs; called once in each running copy, before its first item."""

    def process(self, item: Any) -> Any:
        """Take one item and push what goes on; return None. May be async, or a generator of what to push."""
        raise NotImplementedError

    def process_batch(self, items: list[Any]) -> list[Any] | None:
        """Take many items; return the list to push, or None after own pushes. Instead of ``process``."""
        raise NotImplementedError

    def finish(self) -> Any:
        """Push what was gathered; called once when all input has ended. Not called on drain or kill."""

    def flush(self) -> Any:
        """Push or release everything that ``hold`` keeps open; nodes that hold override it."""

    def teardown(self) -> None:
        """Close what setup opened; may not push."""

    def on_timer(self) -> Any:
        """Do what is due each ``every``."""

    # -- what users call

    if TYPE_CHECKING:

        def push(self, item: Any, output: str = DEFAULT_OUTPUT, *, of: Any = None) -> None:
            """Send an item on.

            Args:
                item: The value.
                output: A declared output; "default" goes to the next nodes.
                of: What it was made of: tokens of ``hold``, or an index in ``process_batch``. None: what is in work.
            """

        @property
        def downstream(self) -> Downstream:
            """What follows this node: ``self.downstream.send(item)`` is ``self.push(item)``."""

        @property
        def output(self) -> Outputs:
            """Declared blocking outputs: ``self.output["a"].send(item)`` is ``self.push(item, output="a")``."""

        @property
        def async_output(self) -> Outputs:
            """Declared async outputs: ``self.async_output["a"].send(item)``."""

    else:
        # Properties, so that assigning raises; with a getter in C, push costs 17 ns more than a plain attribute.
        push = property(attrgetter("_push"), _refuse("push"), doc="Send an item on: push(item, output='default').")
        downstream = property(lambda self: Downstream(self), _refuse("downstream"), doc="What follows: send(item).")
        output = property(lambda self: Outputs(self, False), _refuse("output"), doc="Declared blocking outputs.")
        async_output = property(
            lambda self: Outputs(self, True), _refuse("async_output"), doc="Declared async outputs."
        )

    def hold(self) -> Any:
        """Keep the current item open and give the token that ``push(of=[…])`` or ``release`` closes it by."""
        return self._slot.running("hold").hold()

    def release(self, tokens: Iterable[Any]) -> None:
        """Close held items without a push."""
        self._slot.running("release").release(tokens)

    def fail(self, index: int, error: BaseException) -> None:
        """Fail one item of the batch that ``process_batch`` has in work."""
        self._slot.running("fail").fail(index, error)

    def add_output(self, name: str) -> None:
        """Declare a blocking output of the consecutor, for ``push(item, output=name)``."""
        self._declare(name, is_async=False)

    def add_async_output(self, name: str) -> None:
        """Declare an async output of the consecutor; nothing is promised for what it sends."""
        self._declare(name, is_async=True)

    def _declare(self, name: str, *, is_async: bool) -> None:
        slot = self._slot
        if slot.frozen_by is not None:
            msg = f"{describe(self)} belongs to consecutor {slot.frozen_by}; declare output {name!r} in __init__"
            raise GraphError(msg)
        if check_name(name) == DEFAULT_OUTPUT:
            msg = f"{describe(self)} declares output 'default', which every node has; choose another name"
            raise GraphError(msg)
        if slot.declared.setdefault(name, is_async) is not is_async:
            msg = f"{describe(self)} declares output {name!r} as blocking and as async; choose one of the two"
            raise GraphError(msg)

    @property
    def name(self) -> str | None:
        """Name of the node; None until it is given one or its graph is frozen."""
        return self._slot.name

    @name.setter
    def name(self, name: str) -> None:
        slot = self._slot
        if slot.frozen_by is not None:
            msg = (
                f"{describe(self)} belongs to consecutor {slot.frozen_by} and keeps its name; "
                f"set self.name before Consecutor(…)"
            )
            raise GraphError(msg)
        slot.name = check_name(name)

    @property
    def options(self) -> NodeOptions:
        """How the node is to be run."""
        return self._slot.options
