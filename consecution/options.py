"""The options of a flow: one read-only mapping of what ``-D key=value`` said.

Rules of this module:
    1. Values are strings, as the command line gave them.
    2. Who loads a flow fills the options before it imports the flow, in every process; nobody else does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from consecution.errors import GraphError


class OptionMissing(GraphError, KeyError):
    """A flow asked for an option that nobody gave; a KeyError, so that ``options.get`` works."""

    def __str__(self) -> str:
        """Give the message as it is: a KeyError would put it in quotes."""
        return str(self.args[0])


class Options(Mapping[str, str]):
    """The ``-D key=value`` of this run. Read it in a flow as a dict; threads may share it.

    Example:
        >>> options = Options({"out": "results"})
        >>> options["out"], options.get("unit", "km")
        ('results', 'km')
        >>> options["year"]
        Traceback (most recent call last):
        consecution.options.OptionMissing: the flow needs option 'year': give -D year=… (given: out)
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values: Mapping[str, str] = MappingProxyType(dict(values or {}))

    def __getitem__(self, key: str) -> str:
        """Give an option's value.

        Raises:
            OptionMissing: Nobody gave it.
        """
        try:
            return self._values[key]
        except KeyError:
            given = ", ".join(sorted(self._values)) or "none"
            message = f"the flow needs option {key!r}: give -D {key}=… (given: {given})"
            raise OptionMissing(message) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Options({dict(self._values)!r})"

    def _fill(self, values: Mapping[str, str]) -> None:
        self._values = MappingProxyType(dict(values))


options = Options()


def fill_options(values: Mapping[str, str]) -> None:
    """Replace all options of this process. For loaders: call it before the flow is imported (rule 2)."""
    options._fill(values)


def parse_options(words: list[str]) -> dict[str, str]:
    """Read ``key=value`` words; the last one of a key wins.

    Raises:
        ValueError: A word has no ``=`` or no key.

    Example:
        >>> parse_options(["out=DIR", "note=a=b"])
        {'out': 'DIR', 'note': 'a=b'}
    """
    values = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            message = f"-D {word}: expected key=value, such as -D out=results"
            raise ValueError(message)
        values[key] = value
    return values
