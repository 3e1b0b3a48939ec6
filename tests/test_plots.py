"""Figures draw the numbers they were given, say when nothing is decided, and need Matplotlib only to draw."""

import io
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from jaxlimit import plots

TS = np.linspace(0.0, 3.0, 31)


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def bundle(replicas: int, ts: np.ndarray = TS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paths of dh = (1 − h)dt from h_0 ~ N(0, 1), with their mean and standard deviation."""
    h0 = np.random.default_rng(0).standard_normal((replicas, 1))
    return 1.0 + np.exp(-ts) * (h0 - 1.0), 1.0 - np.exp(-ts), np.exp(-ts)


def band(ax: Axes, position: int) -> np.ndarray:
    """Vertices of a shaded band."""
    bands = [c for c in ax.collections if isinstance(c, PolyCollection)]
    return bands[position].get_paths()[0].vertices


def test_a_bundle_draws_evenly_spaced_replicas_the_mean_and_both_bands():
    values, mean, sd = bundle(2001)
    ax = plots.paths(TS, values, mean, sd, target=1.0, shown=5)
    drawn = np.array([line.get_ydata() for line in ax.lines[:5]])
    assert np.array_equal(drawn, values[[0, 500, 1000, 1500, 2000]])
    assert np.array_equal(ax.lines[5].get_ydata(), mean)
    assert np.array_equal(ax.lines[6].get_ydata(), [1.0, 1.0])
    for position, k in ((0, 2), (1, 1)):
        vertices = band(ax, position)
        assert vertices[:, 1].min() == np.min(mean - k * sd)
        assert vertices[:, 1].max() == np.max(mean + k * sd)
    assert ax.get_xlabel() == "limit time $t$"
    assert "5 of 2001" in texts(ax)[0]


def test_paths_are_subsampled_without_chance_and_never_repeated():
    values, mean, sd = bundle(3)
    first, second = (plots.paths(TS, values, mean, sd, shown=40) for _ in range(2))
    assert [line.get_ydata().tolist() for line in first.lines] == [line.get_ydata().tolist() for line in second.lines]
    assert len(first.lines) == 3 + 1


def test_a_diverged_replica_is_left_out_and_counted():
    values, mean, sd = bundle(4)
    values[2, 5:] = np.inf
    ax = plots.paths(TS, values, mean, sd)
    assert "3 of 3, 1 diverged" in texts(ax)[0]
    ax = plots.lambda_min_along_training(TS, values, 0.1, 0.09)
    assert any("3 replicas, 1 diverged" in text for text in texts(ax))
    with pytest.raises(ValueError, match="at least one finite replica"):
        plots.paths(TS, np.full((2, TS.size), np.nan), mean, sd)


def test_one_save_time_still_shows_a_band_and_points():
    values, mean, sd = bundle(4, np.array([2.0]))
    ax = plots.paths([2.0], values, mean, sd)
    assert np.ptp(band(ax, 0)[:, 0]) > 0
    assert all(line.get_marker() == "o" for line in ax.lines)
    assert ax.get_xticks().tolist() == [2.0]


@pytest.mark.parametrize("mean", [np.zeros(3), np.zeros((TS.size, 1))])
def test_shapes_that_do_not_fit_are_refused(mean: np.ndarray):
    values, _, sd = bundle(4)
    with pytest.raises(ValueError, match="Argument `mean` must"):
        plots.paths(TS, values, mean, sd)
    with pytest.raises(ValueError, match="Argument `values` must"):
        plots.paths(TS, values[:, 1:], sd, sd)


WIDTHS = np.array([64, 256, 1024, 4096])


def test_a_rate_draws_its_points_its_fit_its_cone_and_the_predicted_slope():
    distance = 0.4 * WIDTHS**-0.45
    error = 0.02 * distance
    ax = plots.rate(WIDTHS, distance, error, -0.45, -0.52, -0.38, -0.5, 0.4, ylabel="RMS", label="path")
    points, lower_cap, upper_cap = ax.containers[0].lines[0], *ax.containers[0].lines[1]
    assert np.array_equal(points.get_xdata(), WIDTHS)
    assert np.array_equal(points.get_ydata(), distance)
    np.testing.assert_allclose(upper_cap.get_ydata() - lower_cap.get_ydata(), 4 * error, rtol=1e-12)
    curves = [line for line in ax.lines if len(line.get_xdata()) > WIDTHS.size]
    (fit,) = [line for line in curves if line.get_linestyle() == "-"]
    (guide,) = [line for line in curves if line.get_linestyle() == "--"]
    np.testing.assert_allclose(fit.get_ydata(), 0.4 * fit.get_xdata() ** -0.45, rtol=1e-12)
    assert slope(guide) == pytest.approx(-0.5, abs=1e-12)
    # With equal weights the cone pivots at the geometric mean of the widths.
    pivot = np.exp(np.mean(np.log(WIDTHS)))
    vertices = band(ax, 0)
    left = vertices[vertices[:, 0] == vertices[:, 0].min()]
    expected = 0.4 * pivot**-0.45 * (left[0, 0] / pivot) ** -0.52
    assert left[:, 1].max() == pytest.approx(expected, rel=1e-12)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width $N$", "RMS")
    minus = "\N{MINUS SIGN}"
    assert texts(ax) == [f"path: slope {minus}0.45 [{minus}0.52, {minus}0.38]", f"predicted slope {minus}1/2"]


def slope(line) -> float:
    x, y = np.log(line.get_xdata()), np.log(line.get_ydata())
    return (y[-1] - y[0]) / (x[-1] - x[0])


def test_an_undecided_rate_says_so_and_draws_no_fit():
    ax = plots.rate(WIDTHS, WIDTHS**-0.5, 0.1 * WIDTHS**-0.5, math.nan, math.nan, math.nan, -0.5)
    assert "UNDECIDED" in texts(ax)[0]
    curves = [line for line in ax.lines if len(line.get_xdata()) > WIDTHS.size]
    assert [line.get_linestyle() for line in curves] == ["--"]
    assert not [c for c in ax.collections if isinstance(c, PolyCollection)]


def test_several_rates_share_axes_with_their_own_colours_and_one_guide_in_the_legend():
    ax = plots.rate(WIDTHS, WIDTHS**-0.5, 0 * WIDTHS, -0.5, -0.6, -0.4, -0.5, label="first")
    again = plots.rate(WIDTHS[:2] * 2, 3 * WIDTHS[:2] ** -0.5, 0 * WIDTHS[:2], -0.5, -0.6, -0.4, -0.5, ax=ax, label="b")
    assert again is ax
    assert len(texts(ax)) == 3
    colours = {container.lines[0].get_color() for container in ax.containers}
    assert len(colours) == 2
    assert set(ax.get_xticks()) <= set(WIDTHS) | set(WIDTHS[:2] * 2)


def test_widths_below_the_noise_floor_are_hollow_and_do_not_set_the_level():
    distance = WIDTHS**-0.5
    distance[-1] = 7.0
    ax = plots.rate(WIDTHS, distance, 0 * WIDTHS, -0.5, -0.6, -0.4, -0.5, widths_used=WIDTHS[:3])
    (hollow,) = [line for line in ax.lines if line.get_color() == "white"]
    assert hollow.get_xdata().tolist() == [4096]
    fit = next(line for line in ax.lines if len(line.get_xdata()) > WIDTHS.size)
    np.testing.assert_allclose(fit.get_ydata(), fit.get_xdata() ** -0.5, rtol=1e-12)


def test_the_level_follows_the_weights_of_the_fit():
    distance, error = np.array([1.0, 0.5, 0.3, 0.1]), np.array([0.1, 0.01, 0.01, 0.002])
    weights, x = (distance / error) ** 2, np.log(WIDTHS)
    centre = np.average(x, weights=weights)
    exponent = np.sum(weights * (x - centre) * np.log(distance)) / np.sum(weights * (x - centre) ** 2)
    ax = plots.rate(WIDTHS, distance, error, exponent, exponent - 0.1, exponent + 0.1, -0.5)
    fit = next(line for line in ax.lines if len(line.get_xdata()) > WIDTHS.size)
    residual = np.log(distance) - np.interp(x, np.log(fit.get_xdata()), np.log(fit.get_ydata()))
    assert np.sum(weights * residual) == pytest.approx(0.0, abs=1e-9 * weights.sum())


def test_an_interval_without_information_leaves_the_data_visible():
    ax = plots.rate(WIDTHS, WIDTHS**-0.5, 0.1 * WIDTHS**-0.5, -0.5, -math.inf, 300.0, -0.5)
    low, high = ax.get_ylim()
    assert 1e-3 < low < high < 1.0


def test_a_zero_distance_has_no_place_on_a_log_axis():
    with pytest.raises(ValueError, match="Argument `distance` must be positive"):
        plots.rate(WIDTHS, 0.0 * WIDTHS, 0 * WIDTHS, -0.5, -0.6, -0.4, -0.5)


def test_a_spectrum_is_drawn_in_decreasing_order_with_its_certified_interval():
    ax = plots.spectrum([0.1875, 1.0, 0.5], 0.125, 0.25, status="PROVED_PD", floor=1e-15)
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert ax.lines[0].get_ydata().tolist() == [1.0, 0.5, 0.1875]
    (span,) = ax.patches
    assert span.get_y() == 0.125
    assert span.get_y() + span.get_height() == 0.25
    assert texts(ax)[1].startswith("PROVED_PD: 0.125 ≤")
    assert "≤ 0.25," in texts(ax)[1]


def test_the_printed_enclosure_contains_the_certified_one():
    for lower, upper, expected in (
        (0.01234567, 0.01234571, ["0.012345669", "0.01234571"]),  # 4e-8 apart: to 1e-9
        (0.01375123456781, 0.01375123456792, ["0.0137512345678", "0.01375123456793"]),
        (0.0123456, 0.0234567, ["0.01234", "0.02346"]),
    ):
        ax = plots.spectrum([1.0, upper], lower, upper)
        printed = [word for word in texts(ax)[1].split() if word.startswith("0.")]
        assert printed == expected
        assert float(printed[0]) <= lower < upper <= float(printed[1])


@pytest.mark.parametrize("upper", [0.01375123456792, 1.2345678901235e-05, 0.5])
def test_the_enclosure_and_its_proviso_fit_on_the_sheet(upper: float):
    ax = plots.spectrum([1.0, upper], upper * (1 - 1e-12), upper, status="PROVED_PD", floor=1e-15, assumptions=("a",))
    assert texts(ax)[1].startswith("PROVED_PD, given error estimates")
    ax.figure.savefig(io.BytesIO(), format="png")
    assert ax.get_legend().get_window_extent().x1 <= ax.figure.bbox.x1


def test_bounds_that_rest_on_estimates_say_so_in_every_figure():
    loss = plots.loss(TS, np.exp(-TS), 0 * TS, np.exp(-TS), np.exp(-TS / 2), width=2, assumptions=("a",))
    smallest = plots.lambda_min_along_training(TS, np.ones((3, TS.size)), 1.0, 0.9, width=64, assumptions=("a",))
    for ax in (loss, smallest):
        assert any("proved" in text and "given error estimates" in text for text in texts(ax))
    assert any("N=64" in text for text in texts(smallest))
    loss = plots.loss(TS, np.exp(-TS), 0 * TS, np.exp(-TS), np.exp(-TS / 2), width=2)
    assert not any("given" in text for text in texts(loss))


def test_eigenvalues_that_rounded_below_zero_and_an_undecided_certificate_are_shown():
    ax = plots.spectrum([1.0, 1e-3, -2e-17], -4e-15, 3e-15, status="UNDECIDED", floor=4e-15)
    assert any("computed ≤ 0" in text for text in texts(ax))
    assert any("floor of the proof" in text for text in texts(ax))
    assert ax.get_ylim()[0] < 3e-15
    (triangles,) = [line for line in ax.lines if line.get_marker() == "v"]
    assert triangles.get_xdata().tolist() == [3]


def test_empirical_smallest_eigenvalues_appear_as_quantiles():
    sample = np.linspace(0.01, 0.02, 101)
    ax = plots.spectrum([0.5, 0.02], 0.019, 0.021, empirical={"N = 64": np.append(sample, np.nan)})
    median, caps = ax.containers[0].lines[0], ax.containers[0].lines[1]
    assert median.get_ydata()[0] == pytest.approx(0.015)
    assert [cap.get_ydata()[0] for cap in caps] == pytest.approx([0.0105, 0.0195])
    with pytest.raises(ValueError, match="Argument `empirical` must hold finite values"):
        plots.spectrum([0.5], 0.4, 0.6, empirical={"N = 64": [np.nan]})


def test_the_loss_is_drawn_against_prediction_and_envelope():
    mean, error, predicted, envelope = np.exp(-2 * TS), 0.01 * np.exp(-2 * TS), 0.9 * np.exp(-2 * TS), np.exp(-TS)
    ax = plots.loss(TS, mean, error, predicted, envelope, width=512)
    assert np.array_equal(ax.containers[0].lines[0].get_ydata(), mean)
    curves = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == TS.size]
    assert any(np.array_equal(curve, predicted) for curve in curves)
    assert any(np.array_equal(curve, envelope) for curve in curves)
    assert ax.get_yscale() == "log"
    assert "512" in texts(ax)[0]
    assert len(texts(ax)) == 3


def test_a_loss_that_hardly_moves_or_is_zero_keeps_a_linear_axis_from_zero():
    flat = plots.loss(TS, 1 - 0.1 * TS, 0 * TS, 1 - 0.1 * TS, width=2)
    zero = plots.loss(TS, np.maximum(1 - TS, 0.0), 0 * TS, np.exp(-TS), width=2)
    assert flat.get_yscale() == zero.get_yscale() == "linear"
    assert flat.get_ylim()[0] == zero.get_ylim()[0] == 0.0


def test_quantiles_of_the_law_itself_lie_on_the_diagonal_and_of_another_law_do_not():
    n = 400
    exact = 3.0 + 2.0 * scipy.stats.norm.ppf((np.arange(n) + 0.5) / n)
    ax = plots.qq(exact[::-1], 3.0, 2.0)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), ax.lines[0].get_xdata(), atol=1e-12)
    assert f"{n} replicas, 0 outside" in texts(ax)
    shifted = plots.qq(exact + 1.0, 3.0, 2.0)
    assert not any(", 0 outside" in text for text in texts(shifted))


@pytest.mark.parametrize("shift", [-0.12, 0.12])
def test_a_point_leaves_the_band_exactly_when_kolmogorov_smirnov_rejects(shift: float):
    sample = shift + np.random.default_rng(1).standard_normal(500)
    p_value = scipy.stats.kstest(sample, "norm", method="exact").pvalue
    # The two-sided p-value and the band are two readings of one statistic: their decisions agree on both sides of p.
    for level, outside in ((1 - 1.05 * p_value, True), (1 - 0.95 * p_value, False)):
        ax = plots.qq(sample, 0.0, 1.0, level=level)
        assert any(", 0 outside" in text for text in texts(ax)) is not outside


def test_a_degenerate_limit_has_no_quantiles():
    with pytest.raises(ValueError, match="Argument `sd` must be positive"):
        plots.qq(np.zeros(3), 0.0, 0.0)


def test_the_smallest_eigenvalue_along_training_is_drawn_as_quantiles_of_the_replicas():
    values = np.linspace(0.0, 1.0, 101)[:, None] + TS
    ax = plots.lambda_min_along_training(TS, values, 2.0, 1.5)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 0.5 + TS)
    assert [line.get_ydata()[0] for line in ax.lines[1:]] == [2.0, 1.5]
    for position, (low, high) in enumerate(((0.05, 0.95), (0.25, 0.75))):
        vertices = band(ax, position)
        assert vertices[:, 1].min() == pytest.approx(low)
        assert vertices[:, 1].max() == pytest.approx(high + TS[-1])
    without = plots.lambda_min_along_training(TS, values, 2.0, math.nan)
    assert len(without.lines) == 2


def draw(ax: Axes) -> Axes:
    values, mean, sd = bundle(50)
    return plots.paths(TS, values, mean, sd, ax, target=1.0)


def test_the_given_axes_are_used_and_returned():
    ax = Figure().subplots()
    assert draw(ax) is ax
    assert isinstance(plots.qq(np.arange(5.0), 0.0, 1.0), Axes)


def test_saved_figures_have_the_same_bytes_twice(tmp_path):
    first = plots.save(draw, tmp_path / "new" / "gamma_0.5")
    second = plots.save(draw, str(tmp_path / "again"))
    assert [path.name for path in first] == ["gamma_0.5.png", "gamma_0.5.pdf"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert first[0].read_bytes() == plots.png_bytes(draw)
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert first[1].read_bytes().startswith(b"%PDF")


def test_drawing_leaves_the_global_settings_alone_and_never_loads_pyplot():
    script = """
import sys
import jaxlimit.plots
assert not any(name.split(".")[0] == "matplotlib" for name in sys.modules), "importing loads Matplotlib"
import matplotlib
settings = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != "backend"}  # asking chooses one
before = settings()
jaxlimit.plots.png_bytes(lambda ax: jaxlimit.plots.qq([0.0, 1.0], 0.0, 1.0, ax))
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxlimit\[plot\]'"):
        plots.qq(np.arange(5.0), 0.0, 1.0)
    with pytest.raises(ImportError, match=r"pip install 'jaxlimit\[plot\]'"):
        plots.png_bytes(draw)


def test_a_predicted_size_puts_the_guide_where_it_belongs():
    nan = float("nan")
    ax = plots.rate([64, 256], [0.2, 0.1], [0.01, 0.01], nan, nan, nan, -0.5, predicted_coefficient=0.8)
    (guide,) = (line for line in ax.lines if line.get_linestyle() == "--")
    assert np.allclose(guide.get_ydata(), 0.8 * np.asarray(guide.get_xdata()) ** -0.5)
    assert "predicted, size and slope" in ax.get_legend().get_texts()[-1].get_text()
