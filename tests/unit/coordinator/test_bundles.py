"""Bundles on the coordinator's disk."""

from __future__ import annotations

import hashlib
import io
import zipfile

import pytest
from consecution_coordinator.bundles import Bundles

from consecution.errors import ProtocolError
from consecution.wire.cluster.from_client import BundlePart
from consecution.wire.cluster.parcel import CHUNK_BYTES
from consecution.wire.cluster.to_worker import BundleInfo


def zipped(size=1000):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("flow.py", "#" * size)
    return target.getvalue()


def info_of(data):
    return BundleInfo(hashlib.sha256(data).hexdigest(), len(data))


def send(bundles, data, info=None, step=CHUNK_BYTES):
    info = info or info_of(data)
    have = bundles.have(info)
    while have < info.size_bytes:
        have = bundles.add(BundlePart(info, have, data[have : have + step]))
    return info


def test_an_upload_in_parts_is_there_when_it_is_complete(tmp_path):
    bundles, data = Bundles(tmp_path), zipped()
    info = send(bundles, data, step=300)
    assert bundles.have(info) == info.size_bytes
    assert bundles.read(info.sha256, 0).data == data
    assert bundles.read(info.sha256, len(data)).data == b""


def test_a_large_one_is_read_in_parts(tmp_path):
    bundles, data = Bundles(tmp_path), zipped(3 * CHUNK_BYTES)
    info = send(bundles, data)
    read = b""
    while part := bundles.read(info.sha256, len(read)).data:
        assert len(part) <= CHUNK_BYTES
        read += part
    assert read == data


def test_a_part_that_comes_twice_or_too_early_changes_nothing(tmp_path):
    bundles, data = Bundles(tmp_path), zipped()
    info = info_of(data)
    assert bundles.add(BundlePart(info, 0, data[:100])) == 100
    assert bundles.add(BundlePart(info, 0, data[:100])) == 100
    assert bundles.add(BundlePart(info, 500, data[500:600])) == 100
    send(bundles, data)
    assert bundles.read(info.sha256, 0).data == data


def test_an_upload_that_stopped_goes_on_where_it_was_and_is_no_bundle_before(tmp_path):
    bundles, data = Bundles(tmp_path), zipped()
    info = info_of(data)
    bundles.add(BundlePart(info, 0, data[:100]))
    assert bundles.have(info) == 100
    with pytest.raises(ProtocolError, match="no bundle"):
        bundles.read(info.sha256, 0)


def test_what_is_not_what_its_name_says_is_removed(tmp_path):
    bundles, data = Bundles(tmp_path), zipped()
    wrong = BundleInfo("0" * 64, len(data))
    with pytest.raises(ProtocolError, match="SHA-256"):
        send(bundles, data, wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_zip_that_climbs_out_of_its_folder_is_refused_at_the_upload(tmp_path):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("../evil.py", "")
    with pytest.raises(ProtocolError, match="outside"):
        send(Bundles(tmp_path), target.getvalue())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "a" * 63, "", "a" * 63 + "/"])
def test_only_a_digest_becomes_a_file_s_name(tmp_path, name):
    bundles = Bundles(tmp_path)
    with pytest.raises(ProtocolError, match="no SHA-256"):
        bundles.read(name, 0)
    with pytest.raises(ProtocolError, match="no SHA-256"):
        bundles.add(BundlePart(BundleInfo(name, 10), 0, b"x"))


@pytest.mark.parametrize(("size", "offset", "length"), [(0, 0, 0), (1 << 30, 0, 1), (10, 5, 6), (10, -1, 5)])
def test_parts_out_of_bounds_are_refused(tmp_path, size, offset, length):
    with pytest.raises(ProtocolError, match="out of bounds"):
        Bundles(tmp_path).add(BundlePart(BundleInfo("a" * 64, size), offset, b"x" * length))


def test_uploads_are_forgotten_by_a_restart_and_bundles_that_nobody_uses_too(tmp_path):
    bundles, data = Bundles(tmp_path), zipped()
    info = send(bundles, data)
    bundles.add(BundlePart(BundleInfo("b" * 64, 500), 0, b"x"))
    again = Bundles(tmp_path)
    assert again.have(BundleInfo("b" * 64, 500)) == 0
    again.keep_only({info.sha256})
    assert again.have(info) == info.size_bytes
    again.keep_only(set())
    assert again.have(info) == 0
