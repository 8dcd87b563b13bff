"""Where values stand in memory: network inputs of few channels take fewer lanes than R."""

import numpy as np
import pytest

from tilewright.compiler.layout import TensorLayout
from tilewright.compiler.target import Target


@pytest.mark.parametrize("act_bits", [8, 12])
@pytest.mark.parametrize("channels", range(1, 10))
def test_unpacking_gives_back_what_was_packed(channels, act_bits):
    target = Target(rows=7, act_bits=act_bits, bus_bytes=4)
    values = np.random.default_rng(channels).integers(-128, 128, (channels, 3, 5))
    for layout in (
        TensorLayout(values.shape, target),
        TensorLayout.narrowest(values.shape, target),
    ):
        data = layout.pack(values)
        assert len(data) == layout.size
        np.testing.assert_array_equal(layout.unpack(data), values)


@pytest.mark.parametrize(
    ("rows", "channels", "lanes"),
    [(16, 1, 1), (16, 2, 2), (16, 3, 4), (16, 4, 4), (16, 5, 16), (4, 2, 2), (4, 3, 4), (1, 1, 1)],
)
def test_a_narrow_pixel_has_the_power_of_two_of_lanes_that_its_channels_need(rows, channels, lanes):
    layout = TensorLayout.narrowest((channels, 2, 8), Target(rows=rows, bus_bytes=8))
    assert layout.lanes == layout.pixel_bytes == lanes
    assert layout.pixel_align == max(8 // lanes, 1)
    assert (layout.narrow > 0) == (lanes < rows)


def test_the_banks_hold_as_many_copies_of_a_narrow_pixel_as_fit_whatever_the_columns():
    layout = TensorLayout.narrowest((3, 4, 4), Target(rows=11, cols=2))
    assert layout.lane_map.tolist() == [0, 1, 2] * 3 + [-1, -1]
    image = np.frombuffer(layout.pack(np.full((3, 4, 4), 7)), np.uint8).reshape(-1, 4)
    assert (image == [7, 7, 7, 0]).all()
