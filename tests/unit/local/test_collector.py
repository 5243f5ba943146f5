import gc

import pytest

from consecution import Collect, Consecutor, Map
from consecution.local.collector import YOUNG_OBJECTS, rarely_collected


@pytest.fixture(autouse=True)
def _threshold():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_a_run_raises_the_threshold_and_puts_it_back():
    gc.set_threshold(700, 10, 10)
    flow = range(1) | Map(lambda _: gc.get_threshold()[0]) | Collect("seen")
    assert Consecutor(flow, "seen", journal=None).run().collected["seen"] == [YOUNG_OBJECTS]
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("young", [0, YOUNG_OBJECTS + 1])
def test_a_collector_that_is_off_or_set_higher_is_left_alone(young):
    gc.set_threshold(young, 10, 10)
    with rarely_collected():
        assert gc.get_threshold()[0] == young


def test_the_threshold_is_put_back_when_the_run_raises():
    gc.set_threshold(700, 10, 10)

    with pytest.raises(KeyError), rarely_collected():
        raise KeyError
    assert gc.get_threshold()[0] == 700
