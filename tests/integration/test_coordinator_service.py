"""The coordinator's service on real sockets: who gets in, what is refused, and what survives."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import time

import pytest
from consecution_coordinator.config import CoordinatorConfig
from consecution_coordinator.limits import DEFAULTS
from consecution_coordinator.service import Coordinator

from consecution.client import Client, Flow, NotDone, Unreachable
from consecution.errors import ClusterError
from consecution.testing.clock import ManualClock
from consecution.transport.zeromq.control import ControlClient, News, Reply
from consecution.transport.zeromq.keys import new_keys, write_keys
from consecution.version import VERSION
from consecution.wire.bundle import make_bundle
from consecution.wire.cluster.from_client import FeedFacts, ListAll, PlanFacts, StageFacts
from consecution.wire.cluster.from_worker import AskBundle, HostFigures, Register
from consecution.wire.cluster.parcel import (
    PROTOCOL_VERSION,
    Parcel,
    Refused,
    news_address,
    pack,
    unpack,
)
from consecution.wire.cluster.to_client import TO_CLIENT, State
from consecution.wire.cluster.to_worker import (
    NEWS,
    TO_WORKER,
    BundleChunk,
    NumbersNews,
    PlacementNews,
    Registered,
    Wanted,
)
from consecution.wire.control import FlowPlace, RunSettings
from consecution.wire.plain import encode

ANY = "tcp://127.0.0.1:*"


class Running:
    """A coordinator in a thread."""

    def __init__(self, config):
        self.error = None
        self._config = config
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="coordinator")
        self._thread.start()
        assert self._is_ready.wait(10)
        self.address = self.coordinator.address

    def _serve(self):
        try:
            with Coordinator(self._config) as self.coordinator:
                self._is_ready.set()
                self.coordinator.serve()
        except BaseException as error:
            self.error = error

    def stop(self):
        self.coordinator.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error


@pytest.fixture
def serve(tmp_path):
    """``serve(bind=…, keys=…)``: a coordinator on a free port, with its data in ``tmp_path / "data"``."""
    running = []

    def start(**changes):
        one = Running(CoordinatorConfig(**{"data_dir": tmp_path / "data", "bind": ANY, **changes}))
        running.append(one)
        return one

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def connect():
    """``connect(address, …)``: a raw client, closed at the end."""
    clients = []

    def make(address, **more):
        client = ControlClient(address, **more)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


def hear(client, kinds, wanted, deadline_s=10.0):
    """Poll until a message of a kind comes."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        for news in client.poll(0.1):
            if isinstance(news, (Reply, News)):
                _, message = unpack(news.payload, kinds)
                if isinstance(message, wanted):
                    return message
    pytest.fail(f"no {wanted} within {deadline_s} s")


def say(client, payload, deadline_s=10.0):
    """Send as soon as there is a connection."""
    end = time.monotonic() + deadline_s
    while not client.send(payload):
        client.poll(0.02)
        assert time.monotonic() < end


def register(name="a", **changes):
    one = Register(name, f"disk-{name}", "s", 2, "127.0.0.1", HostFigures(2, 1 << 30), VERSION, "3.11")
    return dataclasses.replace(one, **changes)


@pytest.fixture
def flow(tmp_path):
    folder = tmp_path / "flow"
    folder.mkdir()
    (folder / "flow.py").write_text("x = 1\n")
    return Flow(
        name="flow",
        place=FlowPlace("flow.py", ""),
        bundle=make_bundle(folder),
        settings=RunSettings("flow", "REPLAY", 3, 30.0, 300.0, 100),
        plan=PlanFacts(
            (StageFacts(0, ("n0",), 1, 0),), (FeedFacts(0, "rows", "sequence", "re-readable", False, (0,)),)
        ),
        fingerprint="f",
        spec=b"",
    )


def test_a_worker_registers_gets_orders_the_code_and_hears_placements(serve, connect, flow):
    running = serve()
    worker = connect(running.address)
    say(worker, pack(register()))
    registered = hear(worker, TO_WORKER, Registered)
    worker.listen(news_address(running.address, registered.news_port))
    hear(worker, NEWS + TO_WORKER, NumbersNews)
    with Client(running.address) as client:
        assert client.submit(flow).state is State.STARTING
        wanted = hear(worker, NEWS + TO_WORKER, Wanted)
        while not wanted.children:
            wanted = hear(worker, NEWS + TO_WORKER, Wanted)
        assert [str(order.id) for order in wanted.children] == ["flow/acker-0 (start 1)", "flow/executor-0 (start 1)"]
        say(worker, pack(AskBundle(wanted.bundles[0].sha256, 0), "q"))
        assert hear(worker, NEWS + TO_WORKER, BundleChunk).data == flow.bundle.data
        client.kill("flow")
        assert hear(worker, NEWS + TO_WORKER, PlacementNews).placement.members == ()


def test_what_was_submitted_survives_a_restart(serve, flow):
    running = serve()
    with Client(running.address) as client:
        client.submit(flow)
    running.stop()
    again = serve()
    with Client(again.address) as client:
        assert [(one.name, one.state) for one in client.list().topologies] == [("flow", State.PENDING)]
        assert client.status("flow").summary.reason.startswith("waits for 1 slot")
        with pytest.raises(NotDone, match="pending already"):
            client.submit(flow)


def test_a_large_bundle_travels_in_parts_with_progress(serve, flow, tmp_path):
    (tmp_path / "flow" / "data.bin").write_bytes(os.urandom(700_000))
    flow = dataclasses.replace(flow, bundle=make_bundle(tmp_path / "flow"))
    seen = []
    with Client(serve().address) as client:
        client.submit(flow, progress=lambda have, size: seen.append((have, size)))
        assert [have for have, _ in seen] == sorted(have for have, _ in seen)
        assert len(seen) >= 3
        assert seen[-1][0] == seen[-1][1] == len(flow.bundle.data)
        client.kill("flow")
        seen.clear()
        client.submit(flow, progress=lambda have, size: seen.append((have, size)))
        assert seen == [], "a bundle that is there isn't sent again"


def test_an_upload_that_was_cut_leaves_no_topology_and_goes_on_with_the_next_try(serve, connect, flow, tmp_path):
    (tmp_path / "flow" / "data.bin").write_bytes(os.urandom(700_000))
    flow = dataclasses.replace(flow, bundle=make_bundle(tmp_path / "flow"))
    running = serve()

    class Cut(Exception):
        pass

    def cut(have, size):
        raise Cut

    with Client(running.address) as client:
        with pytest.raises(Cut):
            client.submit(flow, progress=cut)
        assert client.list().topologies == ()
    seen = []
    with Client(running.address) as client:
        client.submit(flow, progress=lambda have, size: seen.append(have))
    assert seen[0] > 300_000, "it went on where the first try ended"


def test_no_coordinator_is_unreachable_within_the_timeout():
    began = time.monotonic()
    with Client("127.0.0.1:9", timeout_s=0.5) as client, pytest.raises(Unreachable, match="consecution coordinator"):
        client.list()
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff" * 100, os.urandom(1000), b"\x92\xa6Parcel\x80", encode(Parcel(PROTOCOL_VERSION, "1", "r", b"junk"))],
)
def test_what_is_no_message_is_refused_counted_and_harms_nothing(serve, connect, payload):
    running = serve()
    peer = connect(running.address)
    say(peer, payload)
    refused = hear(peer, TO_CLIENT, Refused)
    assert "no message" in refused.reason
    with Client(running.address) as client:
        assert client.list().refused == 1


def test_another_protocol_version_is_refused_with_both_versions_under_the_request_s_id(serve, connect):
    running = serve()
    peer = connect(running.address)
    say(peer, encode(Parcel(99, "9.9", "my-question", encode(ListAll()))))
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for news in peer.poll(0.1):
            id_, refused = unpack(news.payload, TO_CLIENT)
            assert id_ == "my-question"
            assert "version 99" in refused.reason
            assert "9.9" in refused.reason
            return
    pytest.fail("no answer")


def test_the_port_taken_is_told_with_the_way_out(serve, tmp_path):
    running = serve()
    with pytest.raises(ClusterError, match="can't bind") as caught:
        Coordinator(CoordinatorConfig(tmp_path / "other", bind=running.address))
    assert "choose a free port" in str(caught.value)


@pytest.mark.parametrize("place", [0, 1])
def test_a_restart_waits_for_its_port_and_says_so(tmp_path, ports, caplog, place):
    """Somebody's connection got the port, or the next one where news are published, while the coordinator was down."""
    port = ports.take(2)
    config = CoordinatorConfig(tmp_path / "data", bind=f"tcp://127.0.0.1:{port}")
    Coordinator(config).close()
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", port + place))

        class Clock(ManualClock):
            def sleep(self, seconds):
                super().sleep(seconds)
                if self.monotonic() > 3:
                    somebody.close()

        with Coordinator(config, clock=Clock()) as again:
            assert again.address == config.bind
    (told,) = caplog.messages
    assert f"can't bind tcp://127.0.0.1:{port + place}: Address already in use" in told
    assert told.endswith("trying again for 10 s")


def test_a_restart_does_not_wait_for_its_port_for_ever(serve, tmp_path):
    Coordinator(CoordinatorConfig(tmp_path / "other", bind=ANY)).close()
    clock = ManualClock()
    with pytest.raises(ClusterError, match="can't bind"):
        Coordinator(CoordinatorConfig(tmp_path / "other", bind=serve().address), clock=clock)
    assert clock.monotonic() == DEFAULTS.port_s


def test_the_same_data_folder_twice_is_refused(serve, tmp_path):
    serve()
    with pytest.raises(ClusterError, match="in use by process"):
        Coordinator(CoordinatorConfig(tmp_path / "data", bind=ANY))


@pytest.mark.parametrize("address", ["127.0.0.1:7000", "tcp://7000", "ipc://x", "tcp://127.0.0.1:99999", "tcp://:7000"])
def test_what_is_no_address_is_refused(tmp_path, address):
    with pytest.raises(ClusterError, match="expected tcp://HOST:PORT"):
        Coordinator(CoordinatorConfig(tmp_path, bind=address))


def test_other_machines_are_not_let_in_without_keys(tmp_path):
    with pytest.raises(ClusterError, match="--insecure"):
        Coordinator(CoordinatorConfig(tmp_path, bind="tcp://0.0.0.0:*"))


# ---- keys ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def secure(serve, tmp_path):
    """A coordinator with keys, and keys of each role."""
    made = {name: new_keys() for name in ("coordinator", "worker", "submitter", "reader", "stranger", "late")}
    write_keys(made["coordinator"], tmp_path / "coordinator.keys")
    allowed = tmp_path / "allowed.txt"
    allowed.write_text(
        "".join(f"{made[role].public.decode()} {role} test\n" for role in ("worker", "submitter", "reader"))
    )
    allowed.chmod(0o644)
    running = serve(keys=tmp_path / "coordinator.keys", allowed=allowed)
    return running, made, allowed


def client_of(secure, role, **more):
    running, keys, _ = secure
    return Client(running.address, keys=keys[role], coordinator_key=keys["coordinator"].public, **more)


def test_each_role_may_what_it_may_and_no_more(secure, flow):
    with client_of(secure, "submitter") as client:
        client.submit(flow)
        assert client.kill("flow")
    with client_of(secure, "reader") as client:
        assert client.list().topologies
        with pytest.raises(NotDone, match="not authorised to submit: that needs the role submitter"):
            client.submit(dataclasses.replace(flow, name="other"))
        with pytest.raises(NotDone, match="not authorised to kill"):
            client.kill("flow")
    with client_of(secure, "worker") as client, pytest.raises(NotDone, match="not authorised to list"):
        client.list()
    with client_of(secure, "reader") as client:
        assert client.list().refused == 3
        assert [one.name for one in client.list().topologies] == ["flow"]


def test_a_submitter_s_key_is_no_worker(secure, connect):
    running, keys, _ = secure
    peer = connect(running.address, keys=keys["submitter"], server_key=keys["coordinator"].public)
    say(peer, pack(register()))
    assert "not authorised to join as a worker" in hear(peer, TO_WORKER, Refused).reason


def test_a_key_that_is_not_in_the_list_is_refused_and_told_so(secure):
    with client_of(secure, "stranger", timeout_s=10) as client, pytest.raises(Unreachable, match="refused the key"):
        client.list()


def test_no_key_and_a_wrong_coordinator_key_do_not_get_in(secure):
    running, keys, _ = secure
    with Client(running.address, timeout_s=2) as client, pytest.raises(Unreachable):
        client.list()
    wrong = Client(running.address, keys=keys["reader"], coordinator_key=keys["stranger"].public, timeout_s=2)
    with wrong as client, pytest.raises(Unreachable):
        client.list()


def test_a_key_that_is_added_to_the_list_gets_in_without_a_restart(secure, wait_for):
    _, keys, allowed = secure
    allowed.write_text(allowed.read_text() + f"{keys['late'].public.decode()} reader late\n")

    def gets_in():
        try:
            with client_of(secure, "late", timeout_s=1) as client:
                return client.list() is not None
        except Unreachable:
            return False

    wait_for(gets_in, 15)


def test_a_role_that_is_taken_away_counts_for_open_connections_too(secure, wait_for, flow):
    _, keys, allowed = secure
    with client_of(secure, "submitter") as client:
        client.submit(flow)
        key = keys["submitter"].public.decode()
        allowed.write_text(allowed.read_text().replace(f"{key} submitter", f"{key} reader"))

        def is_refused():
            try:
                client.pause("flow")
            except NotDone as error:
                return error.kind == "role"
            return False

        wait_for(is_refused, 10)
        assert client.list()


def test_keys_without_a_list_of_allowed_ones_are_refused(tmp_path):
    write_keys(new_keys(), tmp_path / "k")
    with pytest.raises(ClusterError, match="--allowed"):
        Coordinator(CoordinatorConfig(tmp_path / "data", bind=ANY, keys=tmp_path / "k"))
