"""Where a flow is found, and how it is loaded in this and in other processes.

Rules of this module:
    1. A flow has an address, ``file.py[:object]`` or ``pkg.module[:object]``; nothing is ever pickled.
    2. A flow is imported under its own module name, once for each process, so that there is one copy of each class;
       an executor makes ``__main__`` an alias of it.
    3. While a flow is being loaded, ``run``, ``consume`` and ``start`` raise FlowLoaded. It ends the import there: what
       stands above is loaded, what stands below isn't needed.
    4. What this module loads for is told by the caller as a class (Consecutor), so that it stays below it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from consecution.errors import GraphError, Unwinding, short_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

T = TypeVar("T")

_SUFFIX = ".py"
_NAMES_OF_MAIN = ("__main__", "__mp_main__")  # multiprocessing gives it the second one wherever it is imported


class FlowLoaded(Unwinding):
    """The flow is loaded as far as its first ``run``, ``consume`` or ``start``. Only the loader catches it.

    Args:
        stopped: What was to run.
    """

    def __init__(self, stopped: object = None) -> None:
        super().__init__()
        self.stopped = stopped


_depth = 0  # of loads under way in this process: threads that a flow starts while it is imported count too
_files: dict[str, str] = {}  # module name -> the file that we loaded it from


def is_loading() -> bool:
    """Say whether a flow is being imported now, so that nothing may run."""
    return _depth > 0


@contextmanager
def _loading() -> Iterator[None]:
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def stop_if_loading(running: object = None) -> None:
    """Do nothing, or end the import of the flow that calls it (rule 3).

    Args:
        running: What is to run.

    Raises:
        FlowLoaded: A flow is being loaded.
    """
    if _depth:
        raise FlowLoaded(running)


@dataclass(frozen=True, slots=True)
class FlowAddress:
    """Where a flow is.

    Attributes:
        place: An absolute path to a file, or a module's dotted name.
        object: Name of the Consecutor or of the function that makes one; None when the file has one group only.
    """

    place: str
    object: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether ``place`` is a file rather than a module's name."""
        return self.place.endswith(_SUFFIX)

    @property
    def stem(self) -> str:
        """The default name of the flow's consecutor: the file's or module's last name."""
        return Path(self.place).stem if self.is_file else self.place.rpartition(".")[2]

    def __str__(self) -> str:
        return self.place if self.object is None else f"{self.place}:{self.object}"


def parse_address(text: str, folder: Path | None = None) -> FlowAddress:
    """Read ``file.py[:object]`` or ``pkg.module[:object]``.

    Args:
        text: The address as a user wrote it.
        folder: Where relative files are; defaults to the current directory.

    Raises:
        GraphError: It is neither, or there is no such file.

    Example:
        >>> parse_address("shop.flows:build")
        FlowAddress(place='shop.flows', object='build')
    """
    place, colon, name = text.partition(":")
    if not place or (colon and not name.isidentifier()):
        message = f"{text!r} is not the address of a flow; expected file.py, file.py:object or pkg.module:object"
        raise GraphError(message)
    if place.endswith(_SUFFIX) or "/" in place:
        path = ((folder or Path.cwd()) / Path(place).expanduser()).resolve()
        if not path.is_file():
            message = f"no flow file {place!r} (looked for {path}); give the path of an existing file.py"
            raise GraphError(message)
        if path.suffix != _SUFFIX:
            message = f"flow file {place!r} doesn't end in .py; give a Python file, or a module as pkg.module:object"
            raise GraphError(message)
        if not os.access(path, os.R_OK):
            message = f"flow file {path} can't be read: Permission denied; let user {os.geteuid()} read it (chmod +r)"
            raise GraphError(message)
        return FlowAddress(str(path), name or None)
    if not all(part.isidentifier() for part in place.split(".")):
        message = f"{place!r} is neither a file that ends in .py nor a module's dotted name; write file.py[:object]"
        raise GraphError(message)
    return FlowAddress(place, name or None)


def load(address: FlowAddress, kind: type[T], group_of: Callable[[T], frozenset[T]], *, as_main: bool = False) -> T:
    """Import a flow and give its object.

    Args:
        address: From `parse_address`.
        kind: What to find: the class Consecutor.
        group_of: Gives all that are connected with one, itself too; such a group runs as one.
        as_main: Make ``__main__`` an alias of the flow's module, as executors do (rule 2).

    Raises:
        GraphError: There is no such module or object, or it is not of the kind, or there are several groups.
        Exception: Whatever the flow's own code raised while it was imported.
    """
    module = load_module(address, as_main=as_main)
    if address.object is not None:
        return _named(module, address, address.object, kind)
    found = {name: value for name, value in vars(module).items() if isinstance(value, kind) and name[:2] != "__"}
    stopped = getattr(module, "__stopped_at__", None)
    if not found and isinstance(stopped, kind):
        return stopped  # as in `report = Consecutor(…).run()`: it has no name, but it is what the file runs
    if not found:
        message = (
            f"{address}: no global of it is a {kind.__name__}; expected one, such as `flow = {kind.__name__}(a | b)`. "
            f"If a function makes it, give its name: {address.place}:build"
        )
        raise GraphError(message)
    first = next(iter(found.values()))
    group = group_of(first)
    others = [name for name, value in found.items() if value not in group]
    if others:
        names = ", ".join(found)
        message = (
            f"{address} has several {kind.__name__}s that aren't connected ({names}); say which one runs: "
            f"{address.place}:{others[0]}"
        )
        raise GraphError(message)
    return first


def _named(module: ModuleType, address: FlowAddress, name: str, kind: type[T]) -> T:
    if not hasattr(module, name):
        below = " (what stands below run() isn't loaded)" if hasattr(module, "__stopped_at__") else ""
        message = f"{address}: {address.place} has no global {name!r}{below}; name a {kind.__name__} or a function"
        raise GraphError(message)
    value = getattr(module, name)
    if not isinstance(value, kind) and callable(value):
        _refuse_arguments(value, address)
        try:
            with _loading():
                value = value()
        except FlowLoaded:
            message = f"{address}: the function runs its {kind.__name__} itself; let it return it instead"
            raise GraphError(message) from None
    if not isinstance(value, kind):
        what = short_repr(value)
        message = f"{address} is or returned {what}; expected a {kind.__name__}, or a function that returns one"
        raise GraphError(message)
    return value


def _refuse_arguments(function: Callable[..., object], address: FlowAddress) -> None:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        message = (
            f"{address} can't be called without arguments ({error}); a function that makes a flow takes none: give its "
            "parameters defaults, or let it read options (-D key=value)"
        )
        raise GraphError(message) from None
    except ValueError:
        return  # it doesn't say; the call will


def load_module(address: FlowAddress, *, as_main: bool = False) -> ModuleType:
    """Import the module of a flow under its own name, at most once, and give it.

    Raises:
        GraphError: There is no such module, or another one of its name is loaded already.
        Exception: Whatever the flow's own code raised.
    """
    if address.is_file:
        name = _prepare_file(Path(address.place))
    else:
        name = address.place
        if str(Path.cwd()) not in sys.path and "" not in sys.path:
            sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    module = sys.modules.get(name)
    if module is None:
        module = _import(name, address)
    elif address.is_file and Path(getattr(module, "__file__", None) or "").resolve() != Path(address.place):
        _refuse_name(address, name, getattr(module, "__file__", None))
    if address.is_file:
        _files[name] = address.place
    if as_main:
        sys.modules["__main__"] = module
    return module


def _prepare_file(path: Path) -> str:
    """Put the folders of a file on the import path, as ``python file.py`` would, and give its module's name."""
    parts = [path.stem]
    top = path.parent
    while (top / "__init__.py").is_file() and top.name.isidentifier():
        parts.insert(0, top.name)
        top = top.parent
    if parts[0] in sys.stdlib_module_names:
        _refuse_name(FlowAddress(str(path)), parts[0], None)
    if str(top) not in sys.path:
        sys.path.insert(0, str(top))
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    return ".".join(parts)


def _refuse_name(address: FlowAddress, name: str, other: str | None) -> NoReturn:
    message = (
        f"flow file {address.place} would be imported as {name!r}, which is the name of "
        f"{other or 'a module of the standard library'}; rename the file"
    )
    raise GraphError(message)


def _import(name: str, address: FlowAddress) -> ModuleType:
    """Import one module that is not yet loaded, up to its end or its first run()."""
    with _loading():
        try:
            parent = name.rpartition(".")[0]
            if parent:
                importlib.import_module(parent)
            if address.is_file:
                spec = importlib.util.spec_from_file_location(name, address.place)
            else:
                spec = importlib.util.find_spec(name)
        except FlowLoaded:
            message = f"{address}: its package {parent!r} runs a flow while it is imported; move that into a module"
            raise GraphError(message) from None
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
                raise  # the user's own import, inside of the package
            spec = None
        if spec is None or spec.loader is None:
            message = f"no module {name!r}; expected it on the import path or in {Path.cwd()}: check PYTHONPATH"
            if Path(name).is_file():
                message = f"{name!r} is no Python file: the name of a flow's file ends in .py; rename it"
            raise GraphError(message)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except FlowLoaded as loaded:
            module.__dict__["__stopped_at__"] = loaded.stopped or module
        except BaseException:
            sys.modules.pop(name, None)
            raise
        if parent:
            setattr(sys.modules[parent], name.rpartition(".")[2], module)
        return module


def find_address(wanted: object, kind: str = "Consecutor") -> FlowAddress:
    """Find the address of an object by identity, among the globals of the loaded modules.

    A module that was imported is preferred to ``__main__``: less code stands above its run().

    Raises:
        GraphError: It is no global of a module, or only of a notebook or a REPL.
    """
    homeless = False
    best: FlowAddress | None = None
    for module_name, module in list(sys.modules.items()):
        if module is None or module_name.split(".")[0] == "consecution":
            continue
        name = _name_in(module, wanted)
        if name is None:
            continue
        if module_name in _files:
            return FlowAddress(_files[module_name], name)
        if module_name not in _NAMES_OF_MAIN:
            return FlowAddress(module_name, name)
        place = _place_of_main(module)
        homeless = place is None
        best = FlowAddress(place, name) if place is not None else None
    if best is not None:
        return best
    where = "was made in a notebook or a REPL" if homeless else "is no global of a module (made in a function?)"
    message = (
        f"this {kind} {where}, so other processes can't find it. Either give it a name at the top level of a "
        f'file, or say which function makes it: run(mode="processes", flow="file.py:build"). '
        'mode="threads" works as it is'
    )
    raise GraphError(message)


def _name_in(module: ModuleType, wanted: object) -> str | None:
    """The global of a module that is this very object: the first one, a public one if there is any.

    The first, for what comes later may be of a part that isn't run where the flow is loaded: ``for each in flows:``.
    """
    names = [name for name, value in list(getattr(module, "__dict__", {}).items()) if value is wanted]
    return min(names, key=lambda name: name.startswith("_"), default=None)


def _place_of_main(module: ModuleType) -> str | None:
    """Where other processes find ``__main__``: a module's name (``python -m``), a file, or nowhere."""
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return str(spec.name)
    file = getattr(module, "__file__", None)
    return str(Path(file).resolve()) if file and file.endswith(_SUFFIX) and Path(file).is_file() else None
