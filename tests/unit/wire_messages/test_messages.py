"""Messages and packets: what goes in comes out, and hostile bytes give a ProtocolError and nothing else."""

from __future__ import annotations

import struct
import tracemalloc

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consecution.errors import CodecError, ProtocolError
from consecution.guarantee.messages import Cause, Fail, Init, Sum, Verdict
from consecution.wire.envelope import (
    MAGIC,
    Header,
    Messages,
    Position,
    Question,
    pack_messages,
    pack_position,
    pack_question,
    read_packet,
)
from consecution.wire.messages import (
    Audit,
    Data,
    EndMark,
    FlushMark,
    Hello,
    Sums,
    Verdicts,
    decode,
    encode,
    roots_of,
    task_of,
)
from consecution.wire.runs import pack_origins, pack_runs, unpack_origins, unpack_runs

words = st.integers(0, 2**64 - 1)
small = st.integers(0, 1000)
names = st.text(max_size=8)
causes = st.builds(Cause, names, names, names, names, names, names, small)
fails = st.builds(Fail, words, st.lists(small, max_size=6).map(tuple), st.none() | causes)
inits = st.builds(Init, words, words, words, st.frozensets(words, max_size=3))
sums = st.builds(
    Sum,
    words,
    words,
    words,
    st.frozensets(words, max_size=3),
    st.lists(fails, max_size=3).map(tuple),
    small,
    st.frozensets(names, max_size=2),
    st.booleans(),
)
verdicts = st.builds(
    Verdict,
    words,
    words,
    st.lists(fails, max_size=3).map(tuple),
    st.booleans(),
    st.lists(small, max_size=5).map(tuple),
    st.none() | causes,
    st.booleans(),
    small,
    st.frozensets(names, max_size=2),
)


@st.composite
def data_frames(draw: st.DrawFn) -> Data:
    roots = draw(st.integers(0, 4))
    table = [draw(st.lists(words, min_size=roots, max_size=roots).map(tuple)) for _ in range(3)]
    count = draw(st.integers(1, 40))
    origins = None
    if roots:
        code = st.builds(lambda root, index: root << 32 | index, st.integers(0, roots - 1), st.integers(0, 9))
        one = code | st.lists(code, min_size=1, max_size=4).map(tuple)
        origins = draw(st.none() | st.lists(one, min_size=count, max_size=count))
        if origins and all(isinstance(code, int) for code in origins):
            in_order = range(origins[0], origins[0] + count)
            origins = in_order if origins == list(in_order) else origins  # they are read as what they are
    return Data(draw(small), draw(st.binary(max_size=50)), count, *table, origins, draw(st.booleans()))


messages = st.one_of(
    data_frames(),
    inits,
    st.lists(sums, max_size=3).map(lambda many: Sums(tuple(many))),
    st.lists(verdicts, max_size=3).map(lambda many: Verdicts(tuple(many))),
    st.builds(FlushMark, small, st.integers(-5, 5), words, small),
    st.builds(EndMark, small, st.integers(-5, 5)),
    st.builds(Audit, small, st.lists(words, max_size=5).map(tuple)),
    st.builds(Hello, names, names, names, small, names),
)


def is_refused_or_read(data: bytes) -> bool:
    """Whatever the bytes: a message that can be sent on, or a ProtocolError; any other exception fails the test."""
    try:
        message, _ = decode(data)
    except ProtocolError:
        return True
    return decode(bytes_of(message))[0] == message


def bytes_of(message: object) -> bytes:
    return b"".join(encode(message))  # type: ignore[arg-type]


@given(messages)
@settings(max_examples=120, deadline=None)
def test_every_message_comes_out_as_it_went_in(message: object) -> None:
    data = bytes_of(message)
    assert decode(b"abc" + data, 3) == (message, len(data) + 3)


@given(st.lists(messages, min_size=1, max_size=4), words, words, words)
@settings(max_examples=50, deadline=None)
def test_packet_of_several_messages_comes_out_as_it_went_in(many: list[object], sender: int, target: int, birth: int):
    parts = [bytes_of(message) for message in many]
    header = Header(sender, birth, target, placement=3, number=17, received=5)
    packet = read_packet(pack_messages(header, parts, len(many)))
    assert packet == Messages(header, tuple((m, len(p)) for m, p in zip(many, parts, strict=True)))


def test_positions_and_questions_come_out_as_they_went_in() -> None:
    header = Header(1, 2, 3, received=9)
    assert read_packet(pack_position(header, [(1, 500, 20_000)], again=True)) == Position(
        header, ((1, 500, 20_000),), True
    )
    assert read_packet(pack_question(header)) == Question(header)


@given(st.binary(max_size=200), st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_random_bytes_give_a_protocol_error(data: bytes, kind: int) -> None:
    with pytest.raises(ProtocolError):
        read_packet(data)
    assert is_refused_or_read(struct.pack(">BII", kind, len(data), 0) + data)
    with pytest.raises(ProtocolError):
        read_packet(MAGIC + bytes([1, kind % 4]) + data)


@given(messages, st.data())
@settings(max_examples=150, deadline=None)
def test_mutated_messages_are_read_or_refused_and_never_crash(message: object, data: st.DataObject) -> None:
    raw = bytearray(bytes_of(message))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for one in (bytes(raw), bytes(raw[:cut])):
        assert is_refused_or_read(one)


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        (3, msgpack.packb([[[1, 2]], []])),  # a sum of two fields
        (2, msgpack.packb([1, 2, 3, ["x"]])),
        (2, msgpack.packb([1, 2, 3, [True]])),
        (2, msgpack.packb([-1, 2, 3, []])),
        (2, msgpack.packb({"root": 1})),
        (7, msgpack.packb([1, b"123"])),
        (8, msgpack.packb(["a", "b", "c", -1, "d"])),
        (1, msgpack.packb([1, 2, [1], [1], [], None, False])),
        (1, msgpack.packb([1, 2, [1], [1], [1], [0, 5, 9], False])),
        (1, msgpack.packb([1, 2, [1], [1], [1], [2, [1 << 32, 0]], False])),
        (1, msgpack.packb([1, 2, [1], [1], [1], [2, [0, -1]], False])),
        (1, msgpack.packb([1, 2, [1], [1], [1], [1, [[0, 2], 2]], False])),
        (4, msgpack.packb([[[1, 2, [], False, [], 3, False, 0, []]], []])),  # a cause that isn't in the table
        (6, b"\x90" * 10),
        (6, b"\x91" * 5000),
        (6, msgpack.packb(msgpack.ExtType(4, b"x"))),
        (6, b"\xdf\xff\xff\xff\xff"),
        (8, b"\x95\xa2\xff\xfe\xa0\xa0\x00\xa0"),
    ],
)
def test_wrong_fields_give_a_protocol_error(kind: int, head: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(struct.pack(">BII", kind, len(head), 0) + head)


@pytest.mark.parametrize(
    "head",
    [
        msgpack.packb([1, 1 << 20, [1], [1], [1], [1, [0, 1 << 60]], False]),
        msgpack.packb([1, 1 << 20, [1], [1], [1], [1, [[0, 1 << 19], -(1 << 40)]], False]),
        msgpack.packb([1, 5, [1], [1], [1], [1, [[0, 1 << 19, 0, 1 << 19, 0, 1 << 19], 5]], False]),
        msgpack.packb([1, 1 << 62, [1], [1], [1], [0, 0, 1 << 62], False]),
    ],
)
def test_a_few_bytes_that_name_billions_are_refused_before_they_are_unpacked(head: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode(struct.pack(">BII", 1, len(head), 0) + head)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_packet_of_another_version_names_both_versions() -> None:
    data = bytearray(pack_question(Header(1, 1, 2)))
    data[4] = 9
    with pytest.raises(ProtocolError, match=r"version 9.*version 1"):
        read_packet(bytes(data))


def test_trailing_bytes_after_the_last_message_are_refused() -> None:
    data = pack_messages(Header(1, 1, 2, number=1), [bytes_of(EndMark(1, 2)), b"x"], 1)
    with pytest.raises(ProtocolError):
        read_packet(data)


def test_field_that_cannot_travel_is_named() -> None:
    with pytest.raises(CodecError, match="Init"):
        encode(Init(1 << 64, 1, 1, frozenset()))


def test_equal_causes_travel_once() -> None:
    cause = Cause("parse", "ValueError", "no number", "t" * 2000)
    one = len(bytes_of(Sums((Sum(1, 1, 1, fails=(Fail(1, (1,), cause),)),))))
    many = len(bytes_of(Sums(tuple(Sum(r, 1, 1, fails=(Fail(r, (1,), cause),)) for r in range(20)))))
    assert many < one + 20 * 30


@pytest.mark.parametrize(
    ("origins", "bytes_max"),
    [
        (None, 1),
        (list(range(7, 507)), 8),
        ([i // 10 for i in range(500)], 200),
        ([tuple(range(500))], 12),
        ([tuple(range(500))] * 100, 12),
        ([7 * i % 501 for i in range(500)], 1500),
    ],
)
def test_origins_are_short_where_they_stand_in_order(origins: list[int] | None, bytes_max: int) -> None:
    packed = msgpack.packb(pack_origins(origins))
    assert len(packed) <= bytes_max
    back = msgpack.unpackb(packed, use_list=False)
    found = unpack_origins(back, len(origins or ()), roots=1)
    assert (None if found is None else list(found)) == origins
    assert pack_origins(found) == pack_origins(origins), "what was read is sent on in the same few bytes"


@given(st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1), max_size=50))
def test_runs_come_out_as_they_went_in(values: list[int]) -> None:
    assert unpack_runs(pack_runs(values)) == values


def test_audits_can_ask_which_roots_and_which_task_a_message_is_about() -> None:
    data = Data(5, b"", 1, (7, 8), (1, 2), (3, 3))
    assert (roots_of(data), task_of(data)) == ((7, 8), 5)
    assert (roots_of(Sums((Sum(9, 1, 1),))), task_of(Sums(()))) == ((9,), None)
    assert (roots_of(EndMark(4, 1)), task_of(EndMark(4, 1))) == ((), 4)
    assert roots_of(Verdicts((Verdict(3, 1),))) == (3,)
    assert roots_of(Init(2, 1, 1, frozenset())) == (2,)
