"""All links of an incarnation: who is a peer, who is dead, what is for whom (R1, R4, R5)."""

from __future__ import annotations

import pytest

from consecution.errors import ClusterError
from consecution.transport.link import Connected, LinkLimits, Tick
from consecution.transport.links import (
    STRANGERS_MAX,
    Close,
    ConnectionEvent,
    Credited,
    Lagging,
    LeftOut,
    Links,
    Open,
    PacketCame,
    Peer,
    Place,
    PlacementView,
    Post,
    Put,
    Received,
    Refused,
    Rejected,
    TakenUp,
)
from consecution.wire.envelope import Header, Position, pack_messages, pack_position, pack_question, read_packet
from consecution.wire.messages import Audit, Data, encode

ME, ONE, TWO = 1, 2, 3


def view(number: int, *peers: int, births: dict[int, int] | None = None, tasks: tuple[int, ...] = ()) -> PlacementView:
    listed = {peer: Peer((births or {}).get(peer, 1), f"memory://{peer}") for peer in peers}
    return PlacementView(number, listed, frozenset(tasks))


def packet(sender: int, number: int = 1, *, placement: int = 1, birth: int = 1, target: int = ME) -> PacketCame:
    header = Header(sender, birth, target, placement, number)
    return PacketCame(pack_messages(header, encode(Audit(number, ())), 1))


@pytest.fixture
def links() -> Links:
    links = Links(ME)
    links.handle(Place(view(1, ME, ONE, TWO)), 0)
    return links


def received(out: list) -> list[tuple[int, int]]:
    return [(one.sender, one.message.number) for one in out if isinstance(one, Received)]


def test_first_message_opens_the_connection(links: Links) -> None:
    first, second = links.handle(Post(ONE, Audit(1, ())), 0)
    assert first == Open(ONE, "memory://2", None)
    assert isinstance(second, Put)


def test_packet_for_who_had_this_port_before_is_dropped(links: Links) -> None:
    """Schedule 14: a restart in place reuses the address, and its numbers start again."""
    assert links.handle(packet(ONE, target=99), 0) == []
    assert links.counters.misdirected == 1


def test_dead_sender_is_dropped_and_never_comes_back(links: Links) -> None:
    assert received(links.handle(packet(ONE), 0)) == [(ONE, 1)]
    links.handle(Place(view(2, ME, TWO)), 0)
    assert links.handle(packet(ONE, 2), 0) == []
    assert links.counters.from_dead == 1


def test_sender_born_later_waits_for_its_placement() -> None:
    """Schedule 20: between placements 3 and 5 somebody was born; unlisted is not yet dead."""
    links = Links(ME)
    links.handle(Place(view(3, ME)), 0)
    assert links.handle(packet(ONE, placement=5, birth=5), 0) == [Lagging(5)]
    assert links.handle(Place(view(4, ME)), 0) == []
    out = links.handle(Place(view(5, ME, ONE, births={ONE: 5})), 0)
    assert received(out) == [(ONE, 1)]
    assert any(isinstance(one, Put) for one in out)  # it hears at once that its message came


def test_sender_born_and_dead_between_two_placements_of_mine_is_dead() -> None:
    """Schedule 20: the acker skips from placement 3 to 5; the sender was born in 4 and died in 5."""
    links = Links(ME)
    links.handle(Place(view(3, ME)), 0)
    links.handle(packet(ONE, placement=4, birth=4), 0)
    assert received(links.handle(Place(view(5, ME)), 0)) == []
    links.handle(packet(ONE, 2, placement=4, birth=4), 0)
    assert links.counters.from_dead == 1


def test_process_that_hears_an_older_placement_than_its_birth_goes_on() -> None:
    """Schedule 20: a process just started fetches a placement older than itself."""
    links = Links(ME, birth=4)
    assert links.handle(Place(view(3, ONE)), 0) == []
    assert links.handle(Place(view(4, ME, ONE, births={ME: 4})), 0) == []
    assert links.handle(Place(view(5, ONE)), 0) == [LeftOut(5)]


def test_frame_for_a_task_that_my_newer_placement_gives_to_another_is_refused() -> None:
    links = Links(ME)
    links.handle(Place(view(2, ME, ONE, tasks=(5,))), 0)
    data = Data(6, b"", 1)
    came = PacketCame(pack_messages(Header(ONE, 1, ME, 1, 1), encode(data), 1))
    assert Refused(ONE, data) in links.handle(came, 0)
    assert links.counters.refused == 1


def test_frame_sent_under_a_placement_that_i_don_t_know_waits_and_is_not_refused() -> None:
    """Schedule 19: E2 knows k and refused for good what U sent to it under k + 1."""
    links = Links(ME)
    links.handle(Place(view(1, ME, ONE)), 0)
    data = Data(6, b"", 1)
    came = PacketCame(pack_messages(Header(ONE, 1, ME, 2, 1), encode(data), 1))
    assert links.handle(came, 0) == [Lagging(2)]
    out = links.handle(Place(view(2, ME, ONE, tasks=(6,))), 0)
    assert [one.message for one in out if isinstance(one, Received)] == [data]


def test_hearing_of_a_new_placement_refuses_nothing_of_those_who_have_not() -> None:
    """Schedule 13: a worker joins; executors that didn't move refused each other's frames."""
    links = Links(ME)
    links.handle(Place(view(2, ME, ONE, TWO, tasks=(5,))), 0)
    came = PacketCame(pack_messages(Header(ONE, 1, ME, 1, 1), encode(Data(5, b"", 1)), 1))
    assert any(isinstance(one, Received) for one in links.handle(came, 0))


def test_link_ends_with_its_peer_and_drops_what_it_holds(links: Links) -> None:
    links.handle(Post(ONE, Data(1, b"x", 1, (77,), (1,), (1,))), 0)
    assert links.roots() == {77}
    assert links.handle(Place(view(2, ME, TWO)), 0) == [Close(ONE)]
    assert links.roots() == set()
    assert links.is_settled
    assert links.handle(Post(ONE, Audit(1, ())), 0) == []
    assert links.counters.to_dead == 1


def test_new_incarnation_of_a_process_is_a_new_link(links: Links) -> None:
    """Schedule 14: the new incarnation's numbers start at 1, and are taken."""
    assert received(links.handle(packet(ONE, 1), 0)) == [(ONE, 1)]
    links.handle(Place(view(2, ME, TWO, 44, births={44: 2})), 0)
    assert received(links.handle(packet(44, 1, birth=2, placement=2), 0)) == [(44, 1)]


def test_older_placement_is_ignored(links: Links) -> None:
    links.handle(Place(view(3, ME, ONE)), 0)
    links.handle(Place(view(2, ME, ONE, TWO)), 0)
    assert links.placement == 3
    assert not links.lives(TWO)


def test_nothing_is_posted_before_this_incarnation_is_listed() -> None:
    links = Links(ME)
    links.handle(Place(view(1, ONE)), 0)
    with pytest.raises(ClusterError, match="before any placement lists"):
        links.handle(Post(ONE, Audit(1, ())), 0)


def test_strangers_are_bounded(links: Links) -> None:
    for sender in range(100, 100 + STRANGERS_MAX + 5):
        links.handle(packet(sender, birth=9, placement=9), 0)
        links.check_invariants()
    assert links.counters.strangers == 5


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        pack_position(Header(ONE, 1, ME, received=5), [], again=False),
        pack_position(Header(ONE, 1, ME), [(3, 1, 1)], again=False),
        pack_position(Header(ONE, 8, ME), [], again=False),
    ],
)
def test_packet_out_of_the_rules_is_counted_and_changes_nothing(links: Links, data: bytes) -> None:
    (out,) = links.handle(PacketCame(data), 0)
    assert isinstance(out, Rejected)
    assert links.counters.rejected == 1
    assert received(links.handle(packet(ONE), 0)) == [(ONE, 1)]


def test_packet_in_the_name_of_another_key_is_rejected() -> None:
    links = Links(ME)
    links.handle(Place(PlacementView(1, {ME: Peer(1, "a", b"k1"), ONE: Peer(1, "b", b"k2")})), 0)
    came = packet(ONE)
    assert isinstance(links.handle(PacketCame(came.data, b"k3"), 0)[0], Rejected)
    assert received(links.handle(PacketCame(came.data, b"k2"), 0)) == [(ONE, 1)]


def test_idle_links_ask_for_no_time(links: Links) -> None:
    links.handle(packet(ONE), 0)
    links.handle(Tick(), 1)
    assert links.due == float("inf")


def test_a_question_is_answered_with_the_position_and_a_connection_that_comes_back_asks_for_it(links: Links) -> None:
    links.handle(packet(ONE), 0)
    answered = links.handle(PacketCame(pack_question(Header(ONE, 1, ME, 1))), 1.0)
    (asked,) = (one for one in answered if isinstance(one, Put))
    position = read_packet(asked.data)
    assert isinstance(position, Position)
    assert position.header.received == 1
    links.handle(Post(TWO, Audit(1, ())), 2.0)
    again = links.handle(ConnectionEvent(TWO, Connected()), 3.0)
    assert [one for one in again if isinstance(one, Put)]


def test_who_was_never_spoken_to_has_credit_and_room_and_nothing_to_connect(links: Links) -> None:
    fresh = Links(ME)
    assert fresh.has_credit(9, 0)
    assert fresh.has_room(9)
    assert fresh.handle(ConnectionEvent(9, Connected()), 0) == []
    assert fresh.handle(TakenUp(9, 0, 1, 1), 0) == []
    assert links.has_credit(ONE, 0)
    assert links.has_room(ONE)


def test_credit_that_comes_back_is_told(links: Links) -> None:
    """A stage that lacked credit takes the next frame when it hears of it (R3)."""
    data = Data(7, b"x" * 100, LinkLimits().window_items)
    links.handle(Post(ONE, data), 0)
    assert not links.has_credit(ONE, 7)
    size = len(b"".join(encode(data)))
    told = links.handle(
        PacketCame(pack_position(Header(ONE, 1, ME, 1, 0, 1), ((7, data.count, size),), again=False)), 0.1
    )
    assert Credited(ONE, (7,)) in told
    assert links.has_credit(ONE, 7)


def test_silence_with_something_unconfirmed_is_noticed_by_the_clock(links: Links) -> None:
    """R2: after 1 s the sender says it again, or asks."""
    links.handle(Post(ONE, Audit(1, ())), 0)
    assert links.due < 5.0
    assert [one for one in links.handle(Tick(), 2.0) if isinstance(one, Put)]


def test_bytes_that_are_no_packet_are_counted(links: Links) -> None:
    before = links.counters.rejected
    (rejected,) = links.handle(PacketCame(b"\xff" * 30), 0)
    assert isinstance(rejected, Rejected)
    broken = pack_messages(Header(ONE, 1, ME, 1, 1), [b"\xff" * 20], 1)
    (rejected,) = links.handle(PacketCame(broken), 0)
    assert isinstance(rejected, Rejected)
    assert links.counters.rejected == before + 2
