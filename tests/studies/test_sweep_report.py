"""What a sweep says: networks of known laws make claims hold or fail, and few or diverged ones decide nothing."""

import io
from functools import cache

import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.studies import _sweep_found as reading
from jaxlimit.studies import sweep_report, sweep_run, sweep_spec

SMALL = {
    "data": {"source": "sphere", "points": 3, "inputs": 2},
    "replicas": 6000,
    "block": 6000,
    "ts": [0.0, 1.0],
    "method": {"name": "Stepwise", "lanes": 2, "native": False},
}
WIDTHS = [16, 64, 256]
HOLDS, VIOLATED, UNDECIDED = Verdict.HOLDS, Verdict.VIOLATED, Verdict.UNDECIDED


@cache
def law():
    """The limit at γ = 1/2 on the data of the sweeps below."""
    network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
    return jl.SpectralLimit(jl.Problem(jl.data.sphere(3, 2), network)).law([0.0, 1.0])


def networks(exponent=lambda gamma: 1 - 2 * gamma, noise=0.0, lose=0, shift=0.0):
    """Work whose networks are those of the linear limit, with another size of fluctuations, and noise over N."""

    def work(settings, first, stop, checkpoint):
        limit, width, gamma = law(), settings["width"], settings["scaling"]["gamma"]
        rng = np.random.default_rng([width, int(10 * gamma), first])
        draws = rng.standard_normal((stop - first, 2, 3))
        roots = [np.linalg.cholesky(covariance) for covariance in limit.covariance]
        spread = np.stack([draws[:, t] @ roots[t].T for t in range(2)], axis=1)
        more = np.sqrt(noise / width) * rng.standard_normal(draws.shape)
        values = limit.mean + shift + width ** (exponent(gamma) / 2) * spread + more
        diverged = np.full(stop - first, -1)
        diverged[:lose] = 3
        values[:lose, 1] = np.nan
        return {
            "values": (("replica", "time", "point"), values),
            "diverged_at": (("replica",), diverged),
            "t": (("time",), np.array([0.0, 1.0])),
            "steps": (("time",), np.array([0, width])),
        }

    return work


def report_of(folder, work, **changes):
    """The report of a sweep that was run with this work."""
    axes = {"width": WIDTHS, "scaling.gamma": [0.5, 0.8]}
    store = jl.sweeps.Store.create(folder, sweep_spec({**SMALL, "axes": axes, **changes}))
    jl.sweeps.run(store, work)
    return sweep_report(store)


def verdicts(report):
    return {claim.name: claim.verdict for claim in report.claims}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return report_of(tmp_path_factory.mktemp("store") / "sweep", networks())


def test_networks_of_the_theory_make_every_claim_hold(report):
    assert verdicts(report) == dict.fromkeys(
        [
            "variance, gamma 0.5",
            "leading term, gamma 0.5",
            "law, gamma 0.5",
            "variance, gamma 0.8",
            "leading term, gamma 0.8",
        ],
        HOLDS,
    )
    for claim in report.claims:
        assert all((claim.statement, claim.source, claim.expected, claim.observed, claim.error, claim.reason))


def test_fluctuations_of_another_order_violate(tmp_path):
    found = verdicts(report_of(tmp_path / "a", networks(lambda gamma: -0.3)))
    assert (found["variance, gamma 0.5"], found["variance, gamma 0.8"]) == (VIOLATED, VIOLATED)
    assert found["law, gamma 0.5"] is VIOLATED
    assert found["leading term, gamma 0.8"] is VIOLATED


def test_a_limit_beside_the_law_violates_the_law_alone(tmp_path):
    found = verdicts(report_of(tmp_path / "a", networks(shift=0.5)))
    assert (found["variance, gamma 0.5"], found["leading term, gamma 0.5"]) == (HOLDS, HOLDS)
    assert found["law, gamma 0.5"] is VIOLATED


def test_noise_over_the_width_bends_the_slope_and_not_the_leading_term(tmp_path):
    noisy = report_of(tmp_path / "a", networks(noise=2.0), axes={"width": WIDTHS, "scaling.gamma": [0.8]})
    slope, leading = noisy.claims
    assert slope.verdict is UNDECIDED
    assert "towards −1" in slope.reason
    assert float(leading.observed.split()[1].rstrip(";")) == pytest.approx(1.0, abs=0.5)
    assert "b = 1.9" in leading.observed or "b = 2" in leading.observed


def test_few_networks_decide_no_exponent_and_no_law(tmp_path):
    found = report_of(tmp_path / "a", networks(), replicas=500)
    assert set(verdicts(found).values()) == {UNDECIDED}
    assert "500 networks at a width are fewer than the 1000 wanted" in found.claims[0].reason


def test_diverged_networks_decide_nothing_and_are_counted(tmp_path):
    found = report_of(tmp_path / "a", networks(lose=1))
    assert set(verdicts(found).values()) == {UNDECIDED}
    assert all("networks diverged: 1 of 6000 at N = " in claim.reason for claim in found.claims)
    assert np.all(found.arrays["diverged"] == 1)
    assert "1 diverged and are left out" in found.remarks[0].reason
    assert np.all(np.isfinite(found.arrays["error"]))


def test_numbers_over_the_grid_are_those_of_the_networks(tmp_path):
    def work(settings, first, stop, checkpoint):
        values = np.zeros((stop - first, 2, 5))
        values[::2, 1] = settings["width"]
        found = networks()(settings, first, stop, checkpoint)
        return {**found, "values": (("replica", "time", "point"), values)}

    digits = {"source": "digits", "points": 3}
    found = report_of(tmp_path / "a", work, replicas=8, block=4, data=digits, held_out=2, axes={"width": [2, 4]})
    run = sweep_run(sweep_spec({**SMALL, "data": digits, "held_out": 2, "width": 2}).cells[0].settings)
    y, right = run.targets[:3], np.mean(run.targets[3:] > 0)
    for place, width in enumerate((2.0, 4.0)):
        squares = np.mean((np.array([width, 0.0])[:, None] - y) ** 2, axis=1)
        assert found.arrays["error"][place] == pytest.approx(squares.mean())
        assert found.arrays["variance"][place] == pytest.approx(width**2 / 4 * 8 / 7)
        # Outputs that are 0 have no sign: wrong everywhere.
        assert found.arrays["wrong"][place] == pytest.approx(0.5 * (1 - right) + 0.5)
        assert found.arrays["error_standard_error"][place] == pytest.approx(np.ptp(squares) / 2 / np.sqrt(7))
    assert found.arrays["axis_width"].tolist() == [2, 4]
    assert len(found.remarks) == 2
    # The outputs are far from the law of any limit, but 8 networks are no evidence.
    assert verdicts(found) == {"law, all widths": UNDECIDED}
    assert "fewer than the 1000 wanted to call it VIOLATED" in found.claims[0].reason


def test_an_unfinished_sweep_is_a_smaller_one_and_says_so(tmp_path):
    axes = {"width": WIDTHS, "scaling.gamma": [0.5]}
    store = jl.sweeps.Store.create(tmp_path / "a", sweep_spec({**SMALL, "block": 2000, "axes": axes}))
    with pytest.raises(ValueError, match="Argument `store` must hold at least one block"):
        sweep_report(store)
    jl.sweeps.run(store, networks(), shard=(0, 9))
    found = sweep_report(store.folder)
    assert found.configuration["replicas_done"] == 2000
    assert found.configuration["replicas_wanted"] == 18000
    assert found.configuration["spec_id"] == store.spec.spec_id
    assert found.arrays["replicas"].sum() == 2000
    assert sum(remark.observed == "nothing yet" for remark in found.remarks) == 2
    assert not any("leading" in claim.name or "variance" in claim.name for claim in found.claims)


@pytest.mark.parametrize(
    "silent",
    [
        {"c": {"law": "Normal", "mean": 1.0}, "scaling": {"name": "PowerScaling", "gamma": 1.0}},
        {"loss": {"name": "Logistic"}, "data": {"source": "digits", "points": 3}},
        {"optimiser": {"name": "optax.adam", "learning_rate": 0.01}},
        {"linearised": True},
    ],
)
def test_where_theory_is_silent_nothing_is_claimed(silent, tmp_path):
    found = report_of(tmp_path / "a", networks(), replicas=8, block=8, axes={"width": WIDTHS}, **silent)
    assert found.claims == ()
    assert len(found.panels) == 1


def test_families_differ_in_width_alone_whatever_the_axes_are_called(tmp_path):
    def groups(**changes):
        spec = sweep_spec({**SMALL, "replicas": 2, "block": 2, **changes})
        store = jl.sweeps.Store.create(tmp_path / spec.spec_id, spec)
        jl.sweeps.run(store, networks())
        found = {cell.number: reading.found_in(store, cell) for cell in spec.cells}
        return [(family.name, family.widths) for family in reading.families(spec, found)]

    assert groups(axes={"width": [4, 2], "seed": [0, 1]}) == [("seed 0", [2, 4]), ("seed 1", [2, 4])]
    sizes = [{"width": 4, "replicas": 4}, {"width": 8, "replicas": 2}]
    assert groups(axes={"size": sizes}) == [("all widths", [4, 8])]
    methods = [{"name": "Stepwise", "lanes": lanes, "native": False} for lanes in (1, 2)]
    assert [widths for _, widths in groups(axes={"width": [2, 4], "method": methods})] == [[2, 4], [2, 4]]


def test_the_figure_has_a_row_for_every_setting_and_a_colour_for_every_gamma(tmp_path):
    figure = pytest.importorskip("matplotlib.figure")
    found = report_of(
        tmp_path / "a",
        networks(),
        replicas=8,
        block=8,
        axes={"width": WIDTHS, "scaling.gamma": [0.5, 0.8], "activation": [{"name": "Erf"}, {"name": "Tanh"}]},
    )
    (panel,) = found.panels
    sheet = figure.Figure(layout="constrained")
    table = panel.draw(sheet.subplots())
    assert [[ax.get_title(loc="left") for ax in row] for row in table] == [["Erf", "Erf"], ["Tanh", "Tanh"]]
    assert [text.get_text() for text in sheet.legends[0].get_texts()] == [
        r"$\gamma=0.5$",
        r"$\gamma=0.8$",
        r"slope $1-2\gamma$",
    ]
    drawn = table[0][1].containers[1].lines[0].get_ydata()
    np.testing.assert_array_equal(drawn, found.arrays["variance"][:, 1, 0])
    sheet.savefig(io.BytesIO())


def test_a_sweep_of_something_else_is_refused(tmp_path):
    store = jl.sweeps.Store.create(tmp_path / "a", jl.sweeps.SweepSpec({"replicas": 2, "block": 2}, {}))
    with pytest.raises(ValueError, match="Argument `store` must be a sweep of"):
        sweep_report(store)
