"""The running words of a task: what it must tell the ackers of its trees (protocol.md R9).

Rules: one word for each root, emptied by `take`. The caller books a frame's output ids (`created`) before it closes the
input (`closed`), and takes only between frames: then a child is in the same sum as the removal of its parent, or in an
earlier one. Sums of one root combine. Knows nothing of ackers: who sends a sum picks one by its root (R7).
"""

from __future__ import annotations

from .messages import NO_NAMES, NOWHERE, Fail, Incarnation, Root, Sum


class _Word:
    __slots__ = ("dropped", "fails", "producer", "reached", "refused", "sent_to", "word")

    def __init__(self, producer: Incarnation) -> None:
        self.producer = producer
        self.word = 0
        self.sent_to = NOWHERE
        self.fails: list[Fail] | None = None
        self.dropped = 0
        self.reached = NO_NAMES
        self.refused = False


class RunningWords:
    """The running words of one task. Not thread-safe.

    >>> words = RunningWords()
    >>> words.created(root=1, producer=9, edge_id=0b110, sent_to=7)
    >>> words.closed(root=1, producer=9, edge_id=0b011)
    >>> [(each.root, each.word, set(each.sent_to)) for each in words.take()]
    [(1, 5, {7})]
    >>> words.take()
    []
    """

    __slots__ = ("_singles", "_words")

    def __init__(self) -> None:
        self._words: dict[Root, _Word] = {}
        # One frozenset for each incarnation that frames go to: nearly every sum names one alone.
        self._singles: dict[Incarnation, frozenset[Incarnation]] = {}

    def __len__(self) -> int:
        """How many roots have something to tell."""
        return len(self._words)

    def created(self, root: Root, producer: Incarnation, edge_id: int, sent_to: Incarnation) -> None:
        """Book an output frame, once for each root that it descends from, however many inputs it was made of."""
        word = self._words.get(root)
        if word is None:
            word = self._words[root] = _Word(producer)
        word.word ^= edge_id
        if sent_to not in word.sent_to:
            single = self._singles.get(sent_to) or self._single(sent_to)
            word.sent_to = word.sent_to | single if word.sent_to else single

    def closed(self, root: Root, producer: Incarnation, edge_id: int) -> None:
        """Book that an input frame is closed; all that was pushed for it is booked already and nobody holds it."""
        word = self._words.get(root)
        if word is None:
            word = self._words[root] = _Word(producer)
        word.word ^= edge_id

    def failed(self, fail: Fail, producer: Incarnation) -> None:
        """Book failed items; call it before the frame in which they failed is closed (R10)."""
        word = self._words.get(fail.root) or self._begin(fail.root, producer)
        if word.fails is None:
            word.fails = []
        word.fails.append(fail)

    def dropped(self, root: Root, producer: Incarnation, count: int) -> None:
        """Book values that a Route dropped."""
        (self._words.get(root) or self._begin(root, producer)).dropped += count

    def reached(self, root: Root, producer: Incarnation, names: frozenset[str]) -> None:
        """Book the accumulating nodes that values of this root reached (R17)."""
        word = self._words.get(root) or self._begin(root, producer)
        if not names <= word.reached:
            word.reached |= names

    def refused(self, root: Root, producer: Incarnation) -> None:
        """Book that a frame of this root was refused from a living sender (R4)."""
        (self._words.get(root) or self._begin(root, producer)).refused = True

    def take(self, placement: int = 0) -> list[Sum]:
        """Give what there is to tell, and forget it.

        A word that is zero and has nothing beside it is left out: each frame that it created was closed here too.

        Args:
            placement: The newest placement number that the caller has.

        Returns:
            One sum for each root, in the order in which they were first touched.
        """
        words = self._words
        if not words:
            return []
        self._words = {}
        return [
            Sum(
                root,
                word.producer,
                word.word,
                word.sent_to,
                tuple(word.fails) if word.fails else (),
                word.dropped,
                word.reached,
                word.refused,
                placement,
            )
            for root, word in words.items()
            if word.word or word.fails or word.dropped or word.reached or word.refused
        ]

    def _begin(self, root: Root, producer: Incarnation) -> _Word:
        word = self._words[root] = _Word(producer)
        return word

    def _single(self, incarnation: Incarnation) -> frozenset[Incarnation]:
        if len(self._singles) > 1_000:  # incarnations come and go; this is only a cache
            self._singles.clear()
        single = self._singles[incarnation] = frozenset((incarnation,))
        return single

    def check_invariants(self) -> None:
        """Raise AssertionError when a word holds a fail of another root."""
        for root, word in self._words.items():
            assert all(fail.root == root for fail in word.fails or ()), root
