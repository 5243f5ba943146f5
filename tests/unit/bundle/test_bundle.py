"""The zip of a flow's folder: what goes in, and what doesn't come out."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile

import pytest

from consecution.errors import CapacityError, ProtocolError
from consecution.wire import bundle as module
from consecution.wire.bundle import check_bundle, make_bundle, unpack_bundle


def write(folder, *names, text="x = 1\n"):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def zipped(path, *entries):
    """A zip of (name or ZipInfo, data)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_was_zipped_is_there_after_unpacking(tmp_path):
    write(tmp_path / "flow", "flow.py", "pkg/__init__.py", "pkg/part.py", "data/rows.csv")
    (tmp_path / "flow" / "bytes.bin").write_bytes(bytes(range(256)) * 100)
    made = make_bundle(tmp_path / "flow")
    assert made.names == ("bytes.bin", "data/rows.csv", "flow.py", "pkg/__init__.py", "pkg/part.py")
    assert made.sha256 == hashlib.sha256(made.data).hexdigest()
    (tmp_path / "b.zip").write_bytes(made.data)
    check_bundle(tmp_path / "b.zip")
    unpack_bundle(tmp_path / "b.zip", made.sha256, tmp_path / "out")
    for name in made.names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "flow" / name).read_bytes()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def test_who_dies_while_it_is_finished_leaves_no_folder_of_that_name(tmp_path):
    """Its files are noted before it gets its name: else results written there later would pass for code."""
    write(tmp_path / "flow", "flow.py")
    made = make_bundle(tmp_path / "flow")
    (tmp_path / "b.zip").write_bytes(made.data)
    seen = []

    def note(folder):
        seen.append((sorted(path.name for path in folder.iterdir()), (tmp_path / "out").exists()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack_bundle(tmp_path / "b.zip", made.sha256, tmp_path / "out", note)
    assert seen == [(["flow.py"], False)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "flow"]


def test_the_same_files_give_the_same_bytes_whatever_their_times_and_order(tmp_path):
    write(tmp_path / "one", "b.py", "a.py")
    write(tmp_path / "two", "a.py", "b.py")
    os.utime(tmp_path / "two" / "a.py", (1, 1))
    assert make_bundle(tmp_path / "one").sha256 == make_bundle(tmp_path / "two").sha256


def test_hidden_files_environments_caches_and_journals_stay_at_home(tmp_path):
    write(
        tmp_path, "flow.py", ".secret", ".git/config", ".consecution/flow/journal.sqlite", "__pycache__/a.pyc", "b.pyc",
        "env/pyvenv.cfg", "env/lib/x.py", "cache/CACHEDIR.TAG", "cache/x", "node_modules/x.js", "a.egg-info/PKG-INFO",
    )  # fmt: skip
    assert make_bundle(tmp_path).names == ("flow.py",)


def test_links_out_of_the_folder_are_left_out_and_named(tmp_path):
    write(tmp_path, "outside.txt", "flow/flow.py", "flow/real.py")
    (tmp_path / "flow" / "inside.py").symlink_to("real.py")
    (tmp_path / "flow" / "outside.txt").symlink_to("../outside.txt")
    (tmp_path / "flow" / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "flow" / "pipe")
    made = make_bundle(tmp_path / "flow")
    assert made.names == ("flow.py", "inside.py", "real.py")
    assert made.left_out == ("broken", "outside.txt", "pipe")


def test_a_folder_that_is_too_large_is_refused_with_its_largest_files(tmp_path):
    write(tmp_path, "flow.py")
    (tmp_path / "huge.bin").write_bytes(os.urandom(3 << 20))
    with pytest.raises(CapacityError, match=r"huge.bin \(3.0 MiB\)"):
        make_bundle(tmp_path, bytes_max=1 << 20)


def test_a_folder_with_too_many_files_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILES_MAX", 5)
    write(tmp_path, *(f"f{n}.py" for n in range(7)))
    with pytest.raises(CapacityError, match="more than 5 files"):
        make_bundle(tmp_path)


def entry(name, mode=stat.S_IFREG | 0o644):
    one = zipfile.ZipInfo(name)
    one.external_attr = mode << 16
    return one


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.py", "outside"),
        ("a/../../evil.py", "outside"),
        ("/etc/evil.py", "outside"),
        ("C:/evil.py", "outside"),
        ("a//b.py", "outside"),
        ("./a.py", "outside"),
        ("a\\..\\evil.py", "characters"),
        ("a\nb.py", "characters"),
        ("\x1b[2Jb.py", "characters"),
        ("n" * 2000, "more than 1000 bytes"),
        (entry("link.py", stat.S_IFLNK | 0o777), "link or a device"),
        (entry("dev", stat.S_IFCHR | 0o666), "link or a device"),
        (entry("pipe", stat.S_IFIFO | 0o666), "link or a device"),
        (entry("dir/", stat.S_IFLNK | 0o777), "no folder"),
    ],
)
def test_an_entry_that_is_not_let_through_leaves_nothing_behind(tmp_path, name, why):
    digest = zipped(tmp_path / "b.zip", ("flow.py", "x"), (name, "/etc/passwd"))
    with pytest.raises(ProtocolError, match=why):
        check_bundle(tmp_path / "b.zip")
    with pytest.raises(ProtocolError, match=why):
        unpack_bundle(tmp_path / "b.zip", digest, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_comes_twice_and_a_file_that_is_a_folder_too_are_refused(tmp_path):
    digest = zipped(tmp_path / "b.zip", ("flow.py", "x"), ("flow.py", "y"))
    with pytest.raises(ProtocolError, match="comes twice"):
        unpack_bundle(tmp_path / "b.zip", digest, tmp_path / "out")
    digest = zipped(tmp_path / "b.zip", ("a", "x"), ("a/b.py", "y"))
    with pytest.raises(ProtocolError, match="both as a file and as a folder"):
        unpack_bundle(tmp_path / "b.zip", digest, tmp_path / "out")


def test_a_bomb_is_refused_by_what_it_says_of_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "UNPACKED_BYTES_MAX", 1 << 20)
    digest = zipped(tmp_path / "b.zip", ("bomb", b"\0" * (2 << 20)))
    with pytest.raises(CapacityError, match="1 MiB"):
        unpack_bundle(tmp_path / "b.zip", digest, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip"]


def test_a_bomb_that_lies_about_its_size_is_refused_while_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "UNPACKED_BYTES_MAX", 1 << 20)
    zipped(tmp_path / "b.zip", ("bomb", b"\0" * (2 << 20)))
    data = bytearray((tmp_path / "b.zip").read_bytes())
    size = (2 << 20).to_bytes(4, "little")
    while size in data:
        data[data.index(size) : data.index(size) + 4] = (100).to_bytes(4, "little")
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises((CapacityError, ProtocolError)):
        unpack_bundle(tmp_path / "b.zip", hashlib.sha256(data).hexdigest(), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip"]


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILES_MAX", 3)
    zipped(tmp_path / "b.zip", *((f"f{n}", "") for n in range(4)))
    with pytest.raises(CapacityError, match="4 entries"):
        check_bundle(tmp_path / "b.zip")


def test_another_file_than_its_name_says_is_refused(tmp_path):
    zipped(tmp_path / "b.zip", ("flow.py", "x"))
    with pytest.raises(ProtocolError, match="damaged on the way"):
        unpack_bundle(tmp_path / "b.zip", "0" * 64, tmp_path / "out")


def test_no_zip_and_a_cut_zip_at_every_length_are_refused(tmp_path):
    zipped(tmp_path / "b.zip", ("flow.py", "x" * 50), ("b.py", os.urandom(50).hex()))
    whole = (tmp_path / "b.zip").read_bytes()
    for length in range(0, len(whole), 3):
        cut = whole[:length]
        (tmp_path / "b.zip").write_bytes(cut)
        with pytest.raises(ProtocolError):
            unpack_bundle(tmp_path / "b.zip", hashlib.sha256(cut).hexdigest(), tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_bytes_that_changed_inside_are_refused(tmp_path):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("flow.py", "abcdefgh" * 10)
    data = bytearray(target.getvalue())
    data[data.index(b"abcdefgh") + 3] ^= 1
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(ProtocolError, match="can't be read"):
        unpack_bundle(tmp_path / "b.zip", hashlib.sha256(data).hexdigest(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
