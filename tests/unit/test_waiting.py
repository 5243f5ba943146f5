"""Waiting for files, those with large numbers too."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource

import pytest

from consecution.waiting import wait_readable, wait_writable


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


@pytest.fixture
def far(pipe):
    """The pipe's reading end, under a number that `select.select` refuses."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] != resource.RLIM_INFINITY and limits[1] < 2048:
        pytest.skip("this user may not open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2048), limits[1]))
    number = fcntl.fcntl(pipe[0], fcntl.F_DUPFD, 1024)
    yield number
    os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_what_can_be_read_is_given(pipe, far):
    assert wait_readable([pipe[0], far], 0.0) == []
    os.write(pipe[1], b"x")
    assert sorted(wait_readable([pipe[0], far], 10.0)) == sorted([pipe[0], far])


def test_an_end_is_heard_too():
    reading, writing = os.pipe()
    os.close(writing)
    assert wait_readable([reading], 10.0) == [reading]
    os.close(reading)


def test_files_are_given_as_they_came(pipe):
    os.write(pipe[1], b"x")
    with os.fdopen(os.dup(pipe[0]), "rb") as file:
        assert wait_readable([file], None) == [file]


def test_a_time_that_is_over_is_no_wait(pipe):
    assert wait_readable([pipe[0]], -1.0) == []
    assert wait_readable([], 0.0) == []


def test_what_can_be_written_to(pipe):
    assert wait_writable(pipe[1], 10.0)
    os.set_blocking(pipe[1], False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe[1], b"x" * 4096)
    assert not wait_writable(pipe[1], 0.0)
