"""The figure against γ: what it draws is what it was given, and what it refuses."""

import numpy as np
import pytest

import jaxlimit as jl

pytest.importorskip("matplotlib")

GAMMAS = [0.5, 0.75, 1.0]
VALUE, ERROR, PREDICTED = [0.3, 0.2, 0.1], [0.01, 0.02, 0.01], [0.31, 0.19, 0.1]


def test_points_bars_and_lines_are_what_was_given():
    ax = jl.plots.against_gamma(GAMMAS, VALUE, ERROR, PREDICTED, [0.3, 0.1, 0.0])
    line, *_, dotted = ax.get_lines()[-2:]
    np.testing.assert_array_equal(line.get_ydata(), PREDICTED)
    np.testing.assert_array_equal(dotted.get_ydata(), [0.3, 0.1, 0.0])
    segments = ax.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose([s[:, 1] for s in segments], np.outer(VALUE, [1, 1]) + np.outer(ERROR, [-2, 2]))


def test_bars_of_two_sides_are_drawn_as_they_are():
    ax = jl.plots.against_gamma(GAMMAS, VALUE, [ERROR, [0.05] * 3], PREDICTED)
    segments = ax.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose([s[1, 1] for s in segments], np.add(VALUE, 0.05))


def test_a_second_series_has_its_own_colour_and_the_limit_one_entry():
    ax = jl.plots.against_gamma(GAMMAS, VALUE, ERROR, PREDICTED, VALUE, log=True)
    ax = jl.plots.against_gamma(GAMMAS, VALUE, ERROR, PREDICTED, VALUE, ax, label="other", log=True)
    colours = {bars.lines[0].get_color() for bars in ax.containers}
    assert len(colours) == 2
    assert sum(text.get_text() == "limit" for text in ax.get_legend().get_texts()) == 1


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("value", lambda: jl.plots.against_gamma(GAMMAS, [1.0, 2.0], ERROR, PREDICTED)),
        ("error", lambda: jl.plots.against_gamma(GAMMAS, VALUE, [0.1], PREDICTED)),
        ("value", lambda: jl.plots.against_gamma(GAMMAS, [0.0, 1.0, 1.0], ERROR, PREDICTED, log=True)),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call()
