"""Figures of a grid: what is drawn is what was given, one key speaks for a sheet, and what is refused."""

import numpy as np
import pytest

import jaxlimit as jl

pytest.importorskip("matplotlib")

WIDTHS = [64, 256, 1024]
VALUE, ERROR = [0.4, 0.2, 0.1], [0.01, 0.02, 0.01]


def keys(legend):
    return [text.get_text() for text in legend.get_texts()]


def draw(label, title=""):
    """One figure of a sheet."""

    def paint(ax):
        ax.set_title(title)
        return jl.plots.against_width(WIDTHS, VALUE, ERROR, -0.5, ax, label=label)

    return paint


def test_points_bars_and_the_slope_through_the_widest_are_what_was_given():
    ax = jl.plots.against_width(WIDTHS, VALUE, ERROR, -0.25)
    bars = ax.containers[0]
    np.testing.assert_array_equal(bars.lines[0].get_xydata(), np.transpose([WIDTHS, VALUE]))
    segments = bars.lines[2][0].get_segments()
    np.testing.assert_allclose([s[:, 1] for s in segments], np.outer(VALUE, [1, 1]) + np.outer(ERROR, [-2, 2]))
    (slope,) = [line for line in ax.lines if line.get_linestyle() == "--" and len(line.get_xdata())]
    np.testing.assert_allclose(slope.get_xydata(), [[64, 0.1 * 16**0.25], [1024, 0.1]])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert sorted(ax.get_xticks()) == WIDTHS


def test_series_have_their_own_colours_and_slopes_one_entry_in_the_key():
    ax = None
    for k in range(3):
        ax = jl.plots.against_width(WIDTHS, VALUE, ERROR, -0.5, ax, label=f"series {k}", shade=k / 2)
    colours = [tuple(bars.lines[0].get_color()) for bars in ax.containers]
    assert len(set(colours)) == 3
    lightness = [np.dot(colour[:3], [0.3, 0.6, 0.1]) for colour in colours]
    assert lightness == sorted(lightness)
    assert lightness[-1] < 0.8
    assert keys(ax.get_legend()) == ["series 0", "series 1", "series 2", "slope of the theory"]


def test_a_sheet_has_one_key_for_all_of_its_figures():
    (sheet,) = {
        one.figure for row in jl.plots.mosaic([[draw("a", "left"), draw("b")], [draw("a"), draw("c")]]) for one in row
    }
    assert [ax.get_title() for ax in sheet.axes] == ["left", "", "", ""]
    assert all(ax.get_legend() is None for ax in sheet.axes)
    assert keys(sheet.legends[0]) == ["a", "b", "c", "slope of the theory"]
    assert [ax.get_xlabel() for ax in sheet.axes] == ["", "", "width $N$", "width $N$"]


def test_a_sheet_takes_the_place_of_one_figure_in_a_file():
    image = jl.plots.png_bytes(lambda ax: jl.plots.mosaic([[draw("a"), draw("b")]], ax))
    alone = jl.plots.png_bytes(draw("a"))
    wide, narrow = (int.from_bytes(png[16:20], "big") for png in (image, alone))
    assert wide == pytest.approx(200 * 6.8, abs=1)
    assert narrow < wide


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("widths", lambda: jl.plots.against_width([0, 1, 2], VALUE, ERROR)),
        ("value", lambda: jl.plots.against_width(WIDTHS, [0.1, 0.0, 0.2], ERROR)),
        ("value", lambda: jl.plots.against_width(WIDTHS, [0.1, 0.2], ERROR)),
        ("standard_error", lambda: jl.plots.against_width(WIDTHS, VALUE, [0.1])),
        ("shade", lambda: jl.plots.against_width(WIDTHS, VALUE, ERROR, shade=1.5)),
        ("draws", lambda: jl.plots.mosaic([[draw("a")], [draw("a"), draw("b")]])),
        ("draws", lambda: jl.plots.mosaic([])),
        ("draws", lambda: jl.plots.mosaic([[]])),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call()
