"""What is fuzzed: each target takes bytes, as from a socket, and raises only when a promise is broken.

Rules of this module: a target accepts the errors that its decoder documents and nothing else. What is read must be
faithful: written again and read again it is the same. A handler must live, keep its invariants, and go on with honest
peers. No target keeps anything from one call to the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from consecution_coordinator.events import ClientAsked, WorkerSaid
from consecution_coordinator.events import Tick as CoordinatorTick
from consecution_coordinator.kept import Topology, WorkerKept
from consecution_worker.events import Came, ChildSaid, NewsCame
from consecution_worker.events import Tick as AgentTick

from consecution.errors import CapacityError, CodecError, ProtocolError
from consecution.process.acker import AckerProcess
from consecution.process.bridge.receiver import Receiver
from consecution.process.bridge.sender import Pass, Piece, Sender
from consecution.process.channel import Channel
from consecution.transport.link import Tick as LinkTick
from consecution.transport.links import Links, PacketCame, Place, PlacementView
from consecution.transport.links import Peer as LinkPeer
from consecution.transport.memory import MemoryNetwork
from consecution.wire import codec, envelope, messages, plain
from consecution.wire.bridge import Ask, Hand, Took, read_crossing
from consecution.wire.bundle import check_bundle, unpack_bundle
from consecution.wire.cluster import from_client, from_worker, to_client, to_worker
from consecution.wire.cluster.parcel import unpack
from consecution.wire.control import DOWN, UP
from consecution.wire.placement import Member, Phase, Placement, Role
from tests.unit.coordinator.conftest import World, plan, submit
from tests.unit.process.peers import Peers
from tests.unit.worker.builders import Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Target: TypeAlias = "Callable[[bytes], object]"

ME, HONEST = 1, 2
REFERENCE = codec.Codec(fast=False)


# ---- decoders --------------------------------------------------------------------------------------------------------


def items(data: bytes) -> object:
    """wire.codec: a value, that packs into bytes which give it again; or CodecError."""
    try:
        value = codec.unpack(data)
    except CodecError:
        return None
    try:
        packed = codec.pack(value)
    except CodecError:
        return value  # msgpack's own timestamps and lone keys can be read and never written (rule 1)
    assert codec.pack(codec.unpack(packed)) == packed
    assert codec.pack(REFERENCE.unpack(packed)) == packed, "the fast reader and the reference differ"
    with contextlib.suppress(CodecError):
        codec.unpack_items(data)
    return value


def message(data: bytes) -> object:
    """wire.messages: a message and where it ends; or ProtocolError."""
    try:
        one, end = messages.decode(data)
    except ProtocolError:
        return None
    assert 0 < end <= len(data)
    again = b"".join(messages.encode(one))
    assert messages.decode(again) == (one, len(again))
    assert messages.task_of(one) is None or isinstance(one, (messages.Data, messages.FlushMark, messages.EndMark))
    assert isinstance(messages.roots_of(one), tuple)
    return one


def packet(data: bytes) -> object:
    """wire.envelope: a packet; or ProtocolError."""
    try:
        return envelope.read_packet(data)
    except ProtocolError:
        return None


def _plain(data: bytes, kinds: tuple[type, ...]) -> object:
    try:
        value: object = plain.decode(data, kinds)
    except ProtocolError:
        return None
    with contextlib.suppress(TypeError, OverflowError, ValueError):  # `Any` fields may hold what only msgpack reads
        packed = plain.encode(value)
        assert plain.encode(plain.decode(packed, kinds)) == packed
    return value


def control(data: bytes) -> object:
    """wire.control: what parent and child say."""
    return _plain(data, DOWN + UP)


def placement(data: bytes) -> object:
    """wire.placement: a numbered placement, whose questions can be asked."""
    value = _plain(data, (Placement,))
    if isinstance(value, Placement):
        for member in value.members:
            assert value.member(member.incarnation) is not None
            assert all(value.owner(task) is not None for task in member.tasks)
        value.acker(0)
        list(value.producers())
    return value


def kept(data: bytes) -> object:
    """What the coordinator's store holds."""
    return _plain(data, (Topology, WorkerKept, from_client.Submit))


def parcel(data: bytes) -> object:
    """wire.cluster: what workers, clients and the coordinator say, in its wrapping."""
    kinds = (
        *from_worker.FROM_WORKER,
        *from_client.FROM_CLIENT,
        *to_worker.TO_WORKER,
        *to_worker.NEWS,
        *to_client.TO_CLIENT,
    )
    try:
        return unpack(data, kinds)
    except ProtocolError:
        return None


def bundle(data: bytes) -> object:
    """wire.bundle: a zip is checked, unpacked into its folder, and leaves nothing anywhere else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inner" / "bundle.zip"
        path.parent.mkdir()
        path.write_bytes(data)
        try:
            check_bundle(path)
            unpack_bundle(path, hashlib.sha256(data).hexdigest(), path.parent / "code")
        except (ProtocolError, CapacityError):
            assert [one.name for one in path.parent.iterdir()] == ["bundle.zip"], "something was left behind"
        assert [one.name for one in Path(folder).iterdir()] == ["inner"], "it climbed out"
        for one in path.parent.rglob("*"):
            assert not one.is_symlink()
        shutil.rmtree(path.parent)
    return None


# ---- handlers --------------------------------------------------------------------------------------------------------


def channel(data: bytes) -> object:
    """The pair of sockets between parent and child: messages, then the end; or ProtocolError."""
    ours, theirs = socket.socketpair()
    with theirs:
        one: Channel[Any] = Channel(ours, DOWN + UP)
        try:
            theirs.sendall(data[: 1 << 16])
            theirs.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ProtocolError):
                return list(one.receive())
        finally:
            one.close()
    return None


def links(data: bytes) -> object:
    """The PULL socket of data: a packet of anybody. What is refused is counted; honest peers go on."""
    one = Links(ME)
    peers = {ME: LinkPeer(1, "memory://me"), HONEST: LinkPeer(1, "memory://honest")}
    one.handle(Place(PlacementView(1, peers, frozenset({0, 1}))), 0.0)
    for step, part in enumerate(_split(data)):
        one.handle(PacketCame(part, None), float(step))
        one.check_invariants()
    one.handle(LinkTick(), 100.0)
    one.check_invariants()
    return one.counters


def bridge(data: bytes) -> object:
    """The sockets of a bridge: a word of anybody, both ways. What is refused changes nothing."""
    receiver = Receiver(HONEST, frozenset({0, 1}))
    sender = Sender(ME, 0)
    sender.place_at(HONEST, 1, Pass())
    for step, part in enumerate(_split(data)):
        sender.add(Piece(b"x", 1))
        sender.send(float(step))
        try:
            one = read_crossing(part, (Hand, Ask, Took))
        except ProtocolError:
            continue
        if isinstance(one, Took):
            sender.took(one, float(step))
        else:
            receiver.hear(b"r", one)
        sender.check_invariants()
        receiver.check_invariants()
    honest = Hand(0xFEDC_BA98_7654_3210, HONEST, 0, 1, 0, b"x")
    assert receiver.hear(b"r", honest), "an honest stream isn't taken"
    return receiver.ignored


def _split(data: bytes) -> Iterator[bytes]:
    """Several packets of one input: parts between marks."""
    yield from data.split(b"|next|")


def acker(data: bytes) -> object:
    """An acker that is told any messages by a listed peer: it lives, and its ledger keeps its invariants."""
    network = MemoryNetwork()
    one = AckerProcess(network.open(ME), timeout_s=30.0)
    two = network.open(HONEST)
    members = (
        Member(ME, 1, Role.ACKER, 0, "memory://1"),
        Member(HONEST, 1, Role.EXECUTOR, 0, two.address, tasks=(0,)),
    )
    placed = Placement("fuzz", 1, Phase.RUNNING, members)
    one.place(placed)
    two.place(PlacementView(1, {ME: LinkPeer(1, "memory://1"), HONEST: LinkPeer(1, two.address)}, frozenset({0})))
    for sent in _messages(data):
        two.send(ME, sent)
        one.turn(0.0)
    two.send(ME, messages.Audit(1, ()))
    one.turn(0.0)
    one._ledger.check_invariants()
    return one.told()


def _messages(data: bytes) -> Iterator[messages.Message]:
    """As many messages as there are at the beginning of the input."""
    offset = 0
    for _ in range(20):
        try:
            one, offset = messages.decode(data, offset)
        except ProtocolError:
            return
        yield one


def executor(data: bytes) -> object:
    """An executor that is told any messages by a listed peer: it lives, and finishes what honest peers send."""
    peers = Peers(range(5) | _keep(), (0,), ())
    first, second = sorted(peers.peers)
    peers.place(phase=Phase.RUNNING)
    for sent in _messages(data):
        peers.peers[second]._transport.send(first, sent)
        for _ in range(3):
            peers.turn()
    for _ in range(20):
        peers.turn()
    assert not peers.peers[first].is_left_out
    peers.close()
    return peers.peers[first].refused


def _keep() -> Any:
    from consecution import Collect

    return Collect("keep")


def coordinator(data: bytes) -> object:
    """The coordinator's ROUTER: any message of a worker or client. It is answered, and what runs goes on."""
    world = World()
    world.worker("a", slots=2)
    world.start("flow", plan(1, 1))
    for part in _split(data):
        try:
            request, one = unpack(part, from_worker.FROM_WORKER + from_client.FROM_CLIENT)
        except ProtocolError:
            continue
        event: Any
        if isinstance(one, from_worker.FROM_WORKER):
            event = WorkerSaid(b"stranger", request, one)  # type: ignore[arg-type]
        elif isinstance(one, from_client.FROM_CLIENT) and not isinstance(one, from_client.BundlePart):
            event = ClientAsked(b"client", request, one, 100)  # type: ignore[arg-type]
        else:
            continue
        world.send(event)
        world.send(CoordinatorTick())
    world.run(1.0)
    world.ask(submit("other", plan(1)))
    assert world.status("flow").summary.name == "flow"
    return world.state.numbers()


def agent(data: bytes) -> object:
    """A worker's DEALER, SUB and channels: any message of a coordinator, of news, or of a child."""
    desk = Desk()
    desk.register()
    child = desk.runs()
    for part in _split(data):
        with contextlib.suppress(ProtocolError):
            request, one = unpack(part, to_worker.TO_WORKER)
            if not desk.agent.is_over:
                desk.does(Came(one, request))  # type: ignore[arg-type]
        with contextlib.suppress(ProtocolError):
            _, news = unpack(part, to_worker.NEWS)
            desk.does(NewsCame(news))  # type: ignore[arg-type]
        with contextlib.suppress(ProtocolError):
            desk.does(ChildSaid(child, plain.decode(part, UP)))  # type: ignore[arg-type]
        desk.does(AgentTick(), 0.25)
    return desk.agent.is_over


TARGETS: dict[str, Target] = {
    one.__name__: one
    for one in (
        items, message, packet, control, placement, kept, parcel, bundle,
        channel, links, bridge, acker, executor, coordinator, agent,
    )
}  # fmt: skip
DECODERS = ("items", "message", "packet", "control", "placement", "kept", "parcel", "bundle")
