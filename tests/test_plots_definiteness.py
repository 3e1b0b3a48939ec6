"""Figures of proofs: what is proved, what is singular and what is undecided can be told apart."""

import io

import numpy as np
import pytest

from jaxlimit import plots


def drawn(ax, label):
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def test_each_case_has_a_row_with_the_mark_of_its_status():
    names = ["Erf, as given", "Erf, opposite point", "Relu, as given"]
    ax = plots.definiteness(names, [0.01, -1e-15, -1e-14], [0.04, 1e-15, 1e-14], [1e-15, 2e-15, 3e-14], [0, 1, 0])
    assert drawn(ax, "proved positive definite") == ([pytest.approx(0.02)], [0])
    assert drawn(ax, "singular, for a reason in the data\n(drawn at the floor)") == ([2e-15], [1])
    assert drawn(ax, "undecided (drawn at the floor)") == ([3e-14], [2])
    assert ax.get_xlabel().endswith("relative width ≤ 3")  # from 0.01 to 0.04
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Erf, as given", "opposite point", "Relu, as given"]


def test_proofs_beyond_the_theorem_have_a_mark_of_their_own_and_narrow_intervals_their_width_in_writing():
    names = ["Erf, as given", "Erf, parallel point"]
    low = np.array([0.01, 0.02])
    ax = plots.definiteness(names, low, low * (1 + 1.5e-8), [1e-15, 1e-15], [False, False], silent=[False, True])
    assert drawn(ax, "proved positive definite")[1] == [0]
    assert drawn(ax, "proved where the theorem is silent")[1] == [1]
    assert ax.get_xlabel().endswith(r"relative width ≤ $2\times 10^{-8}$")
    ax = plots.definiteness(names, -low, low, [1e-15, 1e-15], [False, True])
    assert "width" not in ax.get_xlabel()


def test_proofs_that_rest_on_estimates_are_not_drawn_like_proofs():
    names, low = ["a", "b", "c", "d"], np.full(4, 0.1)
    marks = {"silent": [False, False, True, True], "estimated": [False, True, False, True]}
    ax = plots.definiteness(names, low, 2 * low, low * 1e-9, [False] * 4, **marks)
    found = {
        line.get_label(): (line.get_marker(), line.get_ydata().tolist())
        for line in ax.lines
        if len(line.get_label()) > 8
    }
    assert found == {
        "proved positive definite": ("o", [0]),
        "proved, given error estimates": ("D", [1]),
        "proved where the theorem is silent": ("s", [2]),
        "proved where the theorem is silent,\ngiven error estimates": ("D", [3]),
    }


LONG = "Activation(slope=0.123456, offset=-3.25), opposite point, bias"


@pytest.mark.parametrize("names", [["Erf, as given"], [LONG], [f"{LONG}{i}" for i in range(12)]])
def test_nothing_written_leaves_the_canvas_however_long_the_names_are(names):
    few = np.ones(len(names))
    flags = [i < len(names) // 2 for i in range(len(names))]
    for estimated, singular in (([True] * len(names), flags), (flags, [True] * len(names))):
        ax = plots.definiteness(
            names, 0.1 * few, 0.2 * few, 1e-15 * few, singular, silent=[True] * len(names), estimated=estimated
        )
        assert_inside(ax)


def assert_inside(ax):
    """Labels, ticks and legend lie within the sheet, once Matplotlib has laid it out."""
    sheet = ax.figure
    sheet.savefig(io.BytesIO(), format="png")
    canvas = sheet.bbox
    for text in (ax.xaxis.label, *ax.get_yticklabels(), ax.get_legend()):
        box = text.get_window_extent()
        assert canvas.x0 <= box.x0, text
        assert box.x1 <= canvas.x1 + 1, text
        assert canvas.y0 <= box.y0, text
        assert box.y1 <= canvas.y1 + 1, text


def test_the_approach_goes_to_the_right_and_leaves_open_what_is_not_proved():
    angles = np.array([1e-1, 1e-4, 1e-8])
    ax = plots.approach(angles, [1e-2, 1e-8, -1e-16], [4e-2, 4e-8, 2e-16], [1e-15] * 3, label="Erf")
    assert ax.xaxis_inverted()
    proved = ax.lines[0]
    assert np.allclose(proved.get_ydata(), [2e-2, 2e-8])
    assert ax.lines[1].get_ydata().tolist() == [2e-16]
    assert ax.lines[1].get_markerfacecolor() == "none"
    again = plots.approach(angles, [1e-2] * 3, [1e-2] * 3, [1e-15] * 3, ax, label="Relu")
    assert again is ax
    assert ax.xaxis_inverted()
    (relu,) = [line for line in ax.lines if line.get_label() == "Relu"]
    assert relu.get_color() != proved.get_color()
    # Row by row in two columns: the curves, then what their circles and dotted lines are.
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert texts == ["Erf", "only an upper bound", "Relu", "floor of the proofs"]
    alone = plots.approach(angles, [1e-2] * 3, [1e-2] * 3, [1e-15] * 3, label="Relu")
    assert [t.get_text() for t in alone.get_legend().get_texts()] == ["Relu", "floor of the proofs"]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`lower` must have shape"):
        plots.definiteness(["a"], [0.1, 0.2], [0.2], [1e-15], [False])
    with pytest.raises(ValueError, match="`angles` must be > 0"):
        plots.approach([0.0], [0.1], [0.2], [1e-15])
