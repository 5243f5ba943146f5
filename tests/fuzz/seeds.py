"""Where fuzzing begins: valid inputs of each target, and any message of a kind by its type hints."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import io
import types
import typing
import uuid
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from hypothesis import strategies as st

from consecution.guarantee.messages import Cause, Fail, Init, Sum, Verdict
from consecution.wire import codec, envelope, messages, plain
from consecution.wire.bridge import Ask, Hand, Took, pack_crossing
from consecution.wire.cluster import from_client, from_worker, to_client, to_worker
from consecution.wire.cluster.parcel import Refused, pack
from consecution.wire.control import DOWN, UP
from consecution.wire.placement import Inlet, Member, Outlet, Phase, Placement, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consecution.wire.bridge import Crossing

CORPUS = Path(__file__).parent / "corpus"
NUMBERS = (0, 1, 2, 3, 7, 64, 65, -1, -5, 255, 1 << 20, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, (1 << 64) - 1)
WORDS = (
    "flow",
    "other",
    "a",
    "executor",
    "acker",
    "session",
    "f",
    "n0",
    "",
    "b" * 64,
    "c0de",
    "REPLAY",
    "../x",
    "\x00é",
)


# ---- any value of a type ---------------------------------------------------------------------------------------------


def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type hint, as hostile as the type allows."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return st.none() | st.sampled_from(NUMBERS) | st.sampled_from(WORDS)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(any_of, arguments))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return st.lists(any_of(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(any_of, arguments))
    if origin is frozenset:
        return st.frozensets(any_of(arguments[0]), max_size=3)
    if origin is list:
        return st.lists(any_of(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(any_of(arguments[0]), any_of(arguments[1]), max_size=3)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    if dataclasses.is_dataclass(hint):
        return st.deferred(lambda: _any_dataclass(hint))
    simple: dict[Any, st.SearchStrategy[Any]] = {
        int: st.sampled_from(NUMBERS),
        str: st.sampled_from(WORDS),
        bytes: st.binary(max_size=40),
        bool: st.booleans(),
        float: st.sampled_from((0.0, 1.0, -1.0, 1e9, 1e300, float("inf"), float("-inf"), float("nan"))),
        type(None): st.none(),
        None: st.none(),
    }
    return simple[hint]


def _any_dataclass(kind: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    fields = {field.name: any_of(hints[field.name]) for field in dataclasses.fields(kind)}
    made = st.fixed_dictionaries(fields).map(lambda values: _made(kind, values))
    return made.filter(lambda one: one is not None)


def _made(kind: Any, values: dict[str, Any]) -> Any:
    try:
        return kind(**values)
    except (TypeError, ValueError):  # a class that checks itself
        return None


# ---- valid inputs ----------------------------------------------------------------------------------------------------


def seeds() -> Iterator[tuple[str, bytes]]:
    """(target, input) of each valid input that the corpus is made of."""
    yield from (("items", one) for one in _items())
    sent = list(_sent())
    packed = [b"".join(messages.encode(one)) for one in sent]
    for one in packed:
        yield "message", one
        yield "acker", one
        yield "executor", one
    yield "acker", b"".join(packed)
    yield "executor", b"".join(packed)
    yield from _packets(packed)
    yield from (("bridge", one) for one in _crossings())
    for one in _controls():
        yield "control", one
        yield "channel", len(one).to_bytes(4, "big") + one
        yield "agent", one
    yield "placement", plain.encode(_placement())
    yield from (("kept", one) for one in _kept())
    for parcel, target in _parcels():
        yield "parcel", parcel
        yield target, parcel
    yield from (("bundle", one) for one in _bundles())


def _items() -> Iterator[bytes]:
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    values: list[Any] = [
        None, True, 1, -5, 1 << 63, 1.5, "text", b"bytes", [1, "a"], {"id": 1, "tags": ["x"]}, (1, (2, 3)), {1, 2},
        frozenset({"a"}), now, now.date(), now.time(), datetime.timedelta(days=1, microseconds=3),
        decimal.Decimal("1.50"), uuid.UUID(int=7), bytearray(b"ab"), [{"when": now, "at": (1, {2})}] * 3, 1 << 80,
    ]  # fmt: skip
    yield from (codec.pack(value) for value in values)


def _sent() -> Iterator[messages.Message]:
    items = codec.pack_items([1, 2, 3])
    cause = Cause("parse", "ValueError", "bad", traceback="T", host="h")
    yield messages.Data(0, items, 3)
    yield messages.Data(0, items, 3, (5,), (6,), (2,))
    yield messages.Data(0, items, 3, (5, 9), (6, 7), (2, 2), [0, (1 << 32) | 1, (1, 1 << 32)], solo=True)
    yield Init(5, 2, 6, frozenset({2}))
    yield messages.Sums((Sum(5, 2, 6, sent_to=frozenset({1, 2}), fails=(Fail(5, (0, 2), cause),)), Sum(9, 2, 1)))
    yield messages.Verdicts((Verdict(5, 2), Verdict(9, 2, lost=True, failed=(Fail(9, (1,), cause),))))
    yield messages.FlushMark(0, -1, 2, 1)
    yield messages.EndMark(0, -1)
    yield messages.Audit(3, (5, 9))
    yield messages.Hello("executor", "e0", "host", 7, "0.1")


def _packets(packed: list[bytes]) -> Iterator[tuple[str, bytes]]:
    head = envelope.Header(sender=2, birth=1, target=1, placement=1, number=1, received=0)
    whole = [
        envelope.pack_messages(head, packed, len(packed)),
        envelope.pack_messages(head, packed[:1], 1),
        envelope.pack_position(head, ((0, 3, 100), (1, 2, 50)), again=True),
        envelope.pack_question(head),
    ]
    for one in whole:
        yield "packet", one
        yield "links", one
    second = envelope.pack_messages(dataclasses.replace(head, number=2, placement=2), packed[3:4], 1)
    yield "links", b"|next|".join([whole[1], second, whole[2], whole[3], whole[1]])


def _crossings() -> Iterator[bytes]:
    words: list[Crossing] = [
        Hand(3, 2, 1, 1, 0, codec.pack_items([1, "a"])), Hand(3, 2, 1, 2, 1, b"", 2, starts_again=True),
        Ask(3, 2, 1, 1, 0), Took(1, 2, 1, 1, 1), Took(1, 2, 1, 0, 0, 1),
    ]  # fmt: skip
    packed = [pack_crossing(word) for word in words]
    yield from packed
    yield b"|next|".join(packed)


def _placement() -> Placement:
    members = (
        Member(11, 1, Role.EXECUTOR, 0, "tcp://127.0.0.1:9", "w1", (0, 1), (0,), bridge="tcp://127.0.0.1:11"),
        Member(12, 1, Role.ACKER, 0, "tcp://127.0.0.1:10", "w1", key=b"k" * 40),
    )
    outlets, inlets = (Outlet(0, 0, 9, "tcp://127.0.0.1:12"),), (Inlet(0, is_over=True, keys=(b"k" * 40,)),)
    return Placement("flow", 2, Phase.RUNNING, members, pause=1, outlets=outlets, inlets=inlets)


def _controls() -> Iterator[bytes]:
    from consecution.wire.control import Born, Broke, FeedCounts, Letter, PausedAt, Placed, Ready, Told

    yield plain.encode(Placed(_placement()))
    yield plain.encode(Born(11, "tcp://127.0.0.1:9", 4011, "0.1", "3.11"))
    yield plain.encode(Ready(2))
    yield plain.encode(PausedAt(1, 5, 5))
    letter = Letter("rows", 3, b"\x01", "1", 4, Cause("n", "E", "m"))
    yield plain.encode(Told(2, (FeedCounts(0, "rows", 5, 4, 1, ranges=((3, 4),)),), (1,), (letter,)))
    yield plain.encode(Broke("setup", "no", "T"))


def _parcels() -> Iterator[tuple[bytes, str]]:
    id_ = from_worker.ChildId("flow", 1, "executor", 0, 1)
    figures = from_worker.HostFigures(2, 1 << 30)
    state = from_worker.ChildState(id_, from_worker.ChildPhase.BORN, 7, 11, "tcp://127.0.0.1:9", ready=1)
    up: list[object] = [
        from_worker.Register("b", "disk", "s2", 2, "host", figures, "1.0", "3.11", children=(state,)),
        from_worker.Heartbeat("a", "s1", 2, 1, (state,), (from_worker.ChildExit(1, id_, 11, -9, was_wanted=True),)),
        from_worker.AskPlacement("flow"), from_worker.AskBundle("a" * 64, 0), from_worker.LogText("text", 4),
        from_client.ListAll(), from_client.AskStatus("flow"), from_client.AskLetters("flow"), from_client.Pause("flow"),
        from_client.Resume("flow"), from_client.Drain("flow"), from_client.Kill("flow"), from_client.AskLog("flow"),
        from_client.Rebalance("flow", {"n0": 2}),
    ]  # fmt: skip
    up.append(_group())
    for one in up:
        yield pack(one, "r1"), "coordinator"
    down: list[object] = [
        to_worker.Registered(7001), to_worker.RegisterAgain(), to_worker.Heard(1, 1, 1, 1), Refused("no"),
        to_worker.PlacementIs("flow", _placement()), to_worker.BundleChunk("c0de", 0, 5, b"12345"),
        to_worker.FetchLog("flow", "executor", 0), to_worker.Wanted(2, "session", kills=(id_,)),
        to_worker.PlacementNews(_placement()), to_worker.NumbersNews({"flow": 3}),
    ]  # fmt: skip
    for one in down:
        yield pack(one, "r1"), "agent"


def _group() -> from_client.SubmitGroup:
    from tests.unit.coordinator.conftest import feed, plan, submit

    links = (from_client.LinkFacts("on", "g.b", 0),)
    a = dataclasses.replace(submit("g.a"), group="g", links=links, submission="s7")
    b = dataclasses.replace(
        submit("g.b", plan(1, feeds=(feed(0, "handed over"),))), group="g", place=1, submission="s7"
    )
    return from_client.SubmitGroup("g", (a, b))


def _kept() -> Iterator[bytes]:
    from consecution_coordinator.kept import Seat, Topology, WorkerKept

    from tests.unit.coordinator.conftest import plan, submit

    seats = [Seat("executor", 0, (0, 1), (0,), "a", 1, 1), Seat("acker", 0, worker="a")]
    yield plain.encode(Topology("flow", 1, 1, "s1", to_client.State.RUNNING, 1e9, 1, seats=seats))
    yield plain.encode(WorkerKept("a", "disk", "s", 2, "host", "1.0", "3.11", from_worker.HostFigures(2, 1 << 30)))
    yield plain.encode(dataclasses.replace(submit("flow", plan(1, 2)), submission="s1"))


def _bundles() -> Iterator[bytes]:
    for names in (["flow.py", "data/rows.csv"], ["../evil.py"], ["/abs"], ["a", "a/b"], ["a//b"]):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6)), f"# {name}\n" * 20, zipfile.ZIP_DEFLATED)
        yield buffer.getvalue()


# ---- the corpus ------------------------------------------------------------------------------------------------------


def kept(target: str) -> list[bytes]:
    """The inputs that are kept for a target, in a fixed order."""
    return [path.read_bytes() for path in sorted((CORPUS / target).glob("*"))]


def keep(target: str, data: bytes, name: str = "") -> Path:
    """Keep an input; what was kept before isn't kept twice."""
    import hashlib

    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name or 'seed'}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def any_message(kinds: tuple[type, ...]) -> st.SearchStrategy[Any]:
    """Any message of these kinds."""
    return st.one_of(*map(any_of, kinds))


CONTROL = DOWN + UP
