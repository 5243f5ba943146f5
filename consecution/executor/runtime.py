"""What a node's `push`, `hold`, `release` and `fail` do while it runs: they book on the item in work.

Rules of this module: one `Runtime` for each node of a task; it only writes into what the runner gave it to write into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from consecution.executor.awaiting import item_in_work
from consecution.executor.columns import Held, Token, join_places, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from consecution.executor.columns import InWork, Part, Place
    from consecution.guarantee.messages import Origin


class Context:
    """What one node has in work: set by the runner round each piece of user code.

    Attributes:
        work: The frame in work; None for flush, timers and finish.
        places: Places of the values in the node's column; None while value i is item i of the frame.
        position: Gives the position of the value in work, -1 outside of one.
        emit: ``emit(value, place, output)`` books a push.
        own: ``own(value, output)`` books a push without an item (finish, timers); None where it isn't allowed.
        batch: How many values a batch node has in work; None elsewhere.
        fail: ``fail(position, error)`` for a batch node.
    """

    __slots__ = ("_whole", "batch", "emit", "fail", "own", "places", "position", "work")

    def __init__(
        self,
        emit: Callable[[Any, Place, str], None],
        *,
        work: InWork | None = None,
        places: Sequence[Place] | None = None,
        position: Callable[[], int] | None = None,
        own: Callable[[Any, str], None] | None = None,
        batch: int | None = None,
        fail: Callable[[int, BaseException], None] | None = None,
    ) -> None:
        self.emit = emit
        self.work = work
        self.places = places
        self.position = position
        self.own = own
        self.batch = batch
        self.fail = fail
        self._whole: Place | None = None

    def place(self, position: int) -> Place:
        """Place in the frame of the value at ``position`` of the column."""
        return position if self.places is None else self.places[position]

    def whole(self) -> Place:
        """Place of what belongs to all values of a batch."""
        if self._whole is None:
            self._whole = range(self.batch or 0) if self.places is None else join_places(self.places, self.work)
        return self._whole


class Runtime:
    """A node's way to the runner; see `consecution.graph.Node` for what each method means to a user."""

    def __init__(
        self,
        place: int,
        name: str,
        *,
        outputs: Sequence[str],
        is_holder: bool,
        now: Callable[[], float],
        on_push_of: Callable[[Sequence[Origin]], None] | None,
        released: list[Token],
    ) -> None:
        self.place = place
        self.name = name
        self.context: Context | None = None
        self.tokens: dict[Token, None] = {}
        self._outputs = frozenset(outputs)
        self._is_holder = is_holder
        self._now = now
        self._on_push_of = on_push_of
        self._released = released

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now()

    def push(self, item: object, output: str = "default", of: object = None) -> None:
        """Book a push on the item in work, on ``of``, or on the task itself."""
        context = self.context
        entry = item_in_work.get()
        if context is None and entry is None:
            self._outside("push")
        if output not in self._outputs:
            known = ", ".join(repr(name) for name in sorted(self._outputs))
            message = (
                f"node {self.name!r} has no output {output!r}; it has {known}; declare it with add_output({output!r})"
            )
            raise ValueError(message)
        if entry is not None:
            if entry.is_done:
                self._outside("push")
            entry.pushes.append((output, item, of))
            return
        assert context is not None
        if of is not None:
            context.emit(item, self._place_of(context, of), output)
            return
        if context.batch is not None:
            context.emit(item, context.whole(), output)
            return
        position = -1 if context.position is None else context.position()
        if position >= 0:
            context.emit(item, context.place(position), output)
        elif context.own is not None:
            context.own(item, output)
        else:
            self._outside("push")

    def hold(self) -> Token:
        """Keep the item in work open."""
        if not self._is_holder:
            message = (
                f"node {self.name!r} holds items but has no flush(): override flush() to push or release all it holds"
            )
            raise TypeError(message)
        token = Token(self.place, self._parts_in_work())
        for work in {id(work): work for work, _ in token.parts}.values():
            work.held += 1
        self.tokens[token] = None
        return token

    def _parts_in_work(self) -> tuple[Part, ...]:
        entry, context = item_in_work.get(), self.context
        if entry is not None:
            if entry.is_done:
                self._outside("hold")
            return entry.parts
        position = -1 if context is None or context.position is None else context.position()
        if context is None or position < 0:
            self._outside("hold")
        return parts_of(context.place(position), context.work)

    def release(self, tokens: Token | Iterable[Token]) -> None:
        """Close held items without a push."""
        for token in [tokens] if isinstance(tokens, Token) else list(tokens):
            self._close(token)

    def fail(self, index: int, error: BaseException) -> None:
        """Fail one item of the batch in work."""
        context = self.context
        if context is None or context.fail is None or context.batch is None:
            message = f"node {self.name!r} called fail() outside of process_batch; raise the error instead"
            raise RuntimeError(message)
        if not 0 <= index < context.batch:
            message = f"node {self.name!r} called fail({index}, …) for a batch of {context.batch} items"
            raise IndexError(message)
        context.fail(index, error)

    def _place_of(self, context: Context, of: object) -> Place:
        if isinstance(of, int) and not isinstance(of, bool) and context.batch is not None:
            if not 0 <= of < context.batch:
                message = f"node {self.name!r} pushed of={of} for a batch of {context.batch} items"
                raise IndexError(message)
            return context.place(of)
        tokens: list[object] = [of] if isinstance(of, Token) else list(of)  # type: ignore[call-overload]
        parts: dict[Part, None] = {}
        for token in tokens:
            if not isinstance(token, Token):
                message = f"node {self.name!r} pushed of={token!r}; give the tokens that hold() gave"
                raise TypeError(message)
            self._close(token)
            parts.update(dict.fromkeys(token.parts))
        if not parts:
            message = f"node {self.name!r} pushed of=[]: a value must be of at least one held item"
            raise ValueError(message)
        held = Held(tuple(parts))
        if self._on_push_of is not None:
            self._on_push_of([pair for work, code in held.parts for pair in work.frame.origin_pairs((code,))])
        return held

    def _close(self, token: Token) -> None:
        if not token.is_open or token not in self.tokens:
            message = f"node {self.name!r} closed an item twice: a token is good for one push or one release"
            raise ValueError(message)
        token.is_open = False
        del self.tokens[token]
        self._released.append(token)

    def _outside(self, what: str) -> NoReturn:
        message = (
            f"node {self.name!r} called {what}() outside of an item: in setup or teardown, from a thread, or after its "
            f"item was finished; {what} in process, or keep the item open with hold()"
        )
        raise RuntimeError(message)
