"""Shares of parts along training: what is drawn is what was given, and what is refused."""

import numpy as np
import pytest

import jaxlimit as jl

pytest.importorskip("matplotlib")

LIVING = np.array([[0.5, 0.9], [0.3, 0.8], [np.nan, 0.1]])


def test_lines_are_means_and_bands_reach_from_the_smallest_to_the_largest():
    ax = jl.plots.partition([0.0, 2.0], {"living": LIVING, "dead": 1 - LIVING})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.4, 0.85])
    corners = ax.collections[0].get_paths()[0].vertices
    assert {tuple(corner) for corner in corners} == {(0.0, 0.3), (0.0, 0.5), (2.0, 0.8), (2.0, 0.9)}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["living, 1 diverged", "dead, 1 diverged"]
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


def test_one_time_has_a_band_with_an_area():
    ax = jl.plots.partition([1.0], {"living": [[0.5], [0.4]]})
    assert np.ptp(ax.collections[0].get_paths()[0].vertices[:, 0]) > 0


@pytest.mark.parametrize("values", [[[0.5, 1.1]], [[-0.1, 0.5]], [[0.5]], [[np.nan, np.nan]]])
def test_what_is_no_share_is_refused_by_name(values):
    with pytest.raises(ValueError, match=r"^Argument `living` must"):
        jl.plots.partition([0.0, 1.0], {"living": values})
