"""The doctor: what a machine offers, and which digits of a conclusion survive in which arithmetic."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import number
from jaxlimit.cli import _doctor as command
from jaxlimit.doctor import _diagnose, _precision
from jaxlimit.doctor._conclusion import quantity, shares
from jaxlimit.simulation import DeviceProduct, RoundedProduct
from jaxlimit.statistics import pathwise
from tests.devices import Accelerator
from tests.terminal import call

NETWORK = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
PROBLEM = jl.Problem(jl.data.sphere(points=4, inputs=3), NETWORK)
SETTINGS = {"width": 128, "replicas": 64}
THREE, ALL = "float32, 3-bit products", "float32, 23-bit products"


@pytest.fixture(scope="module")
def audit():
    products = [RoundedProduct(3), RoundedProduct(23)]
    seen = []
    found = jl.doctor.precision(
        PROBLEM,
        products=products,
        devices=jax.devices()[:1],
        progress=lambda done, total: seen.append((done, total)),
        **SETTINGS,
    )
    assert sorted(seen) == [(n, len(found.rows)) for n in range(1, len(found.rows) + 1)]
    return found


def rows(audit, arithmetic):
    found = [row for row in audit.rows if row.arithmetic == arithmetic]
    assert [row.kind for row in found] == ["Stepwise", "SStep"]
    return found


def test_three_bits_lose_the_conclusion_and_float32_keeps_it(audit):
    for row in rows(audit, THREE):
        assert "controlled mean" in row.lost
        assert row.replicas < audit.replicas
    for name in ("float32", ALL):
        for row in rows(audit, name):
            assert row.survives
            assert row.replicas > 10**4
    assert audit.holds


def test_a_conclusion_that_full_products_lose_is_the_end_of_the_promise(audit):
    worse = [row._replace(lost=("mean",)) if row.arithmetic == "float32" else row for row in audit.rows]
    assert not audit._replace(rows=tuple(worse)).holds


def test_float64_is_itself_to_the_last_bit(audit):
    for row in rows(audit, "float64"):
        assert row.start == row.largest == row.largest_deviations == 0
        assert row.survives
        assert row.replicas is None
        assert all(each.moved == each.change == 0 and each.digits == 15 for each in row.quantities)


def test_every_arithmetic_starts_from_the_same_draws(audit):
    for row in audit.rows:
        # Outputs at the start are O(1), and its products are those of the row.
        assert row.start < (2**-3 if row.arithmetic == THREE else 1e-6)
    other = jl.simulate(PROBLEM, 128, [0.0], replicas=64, key=jax.random.key(1), dtype=np.float64)
    own = jl.simulate(PROBLEM, 128, [0.0], replicas=64, key=jax.random.key(0), dtype=np.float64)
    assert abs(other.values - own.values).max() > 1  # what other draws would have shown


def test_native_rows_are_there_where_numba_serves(audit):
    native = "native=True" in jl.simulation.plan(PROBLEM, 128, [1.0], key=jax.random.key(0)).name
    assert sum(row.arithmetic == "float32, native" for row in audit.rows) == 2 * native


def test_the_numbers_of_a_row_are_those_of_the_runs(audit):
    method = jl.Stepwise(native=False, product=RoundedProduct(3))
    given = {"replicas": 64, "key": jax.random.key(0), "devices": jax.devices()[:1]}
    short = jl.simulate(PROBLEM, 128, audit.ts, method=method, **given)
    exact = jl.simulate(PROBLEM, 128, audit.ts, method=jl.Stepwise(native=False), dtype=np.float64, **given)
    gap, row = short.values[:, -1] - exact.values[:, -1], rows(audit, THREE)[0]
    spread = exact.values[:, -1].std(axis=0, ddof=1)
    assert row.largest == pytest.approx(abs(gap).max(), rel=1e-12)
    assert row.largest_deviations == pytest.approx((abs(gap).max(axis=0) / spread).max(), rel=1e-12)
    mean = next(each for each in row.quantities if each.name == "mean")
    assert mean.moved == pytest.approx((abs(gap.mean(axis=0)) / spread * 8).max(), rel=1e-9)
    error = next(each for each in row.quantities if each.name == "distance")
    reference = jl.SpectralLimit(PROBLEM).path(short.values[:, 0], audit.ts)
    measured = pathwise(short.values, reference)
    assert error.value == pytest.approx(measured.distance[-1], rel=1e-12)
    assert error.standard_error == pytest.approx(measured.standard_error[-1], rel=1e-9)


def test_shares_have_the_mean_and_the_standard_error_of_their_quantity():
    rng, count = np.random.default_rng(0), 40_000
    values = rng.standard_normal((count, 1, 2)) * [1.0, 3.0] + 5.0
    steps, fine = np.array([1]), np.full(count, -1)
    samples = jl.Samples(np.array([0.0]), values, None, steps, fine, "Stepwise", 10, 1)
    found = shares(samples, None)
    np.testing.assert_allclose(found["mean"], values[:, 0])
    spread = values[:, 0].std(axis=0, ddof=1)
    np.testing.assert_allclose(found["standard deviation"].mean(axis=0), spread, rtol=1e-12)
    # That of a Gaussian's standard deviation is s/√(2n); the fourth moment of the sample is known within 2%.
    own = found["standard deviation"].std(axis=0, ddof=1) / math.sqrt(count)
    np.testing.assert_allclose(own, spread / math.sqrt(2 * count), rtol=0.04)


def test_a_tenth_of_a_standard_error_is_where_a_conclusion_ends():
    here = np.random.default_rng(0).standard_normal((100, 3))
    here = (here - here.mean(axis=0)) / here.std(axis=0, ddof=1) + [1.0, 2.0, 4.0]
    same, near, far = (quantity("mean", here + shift * np.array([0, 0, 1]), here) for shift in (0.0, 0.009, 0.011))
    assert [one.kept for one in (same, near, far)] == [True, True, False]
    assert [one.replicas for one in (same, near, far)] == [None, 123, 82]  # (0.1/shift)²
    assert near.moved == pytest.approx(0.09)
    assert near.change == pytest.approx(0.009 / math.sqrt(3))
    assert near.value == pytest.approx(math.sqrt((1 + 4 + 4.009**2) / 3))
    assert (same.digits, near.digits, near.meaningful) == (15, 2, 1)
    # Replicas that move to and fro, each by itself: the mean stays, and is in doubt by as much.
    turns = np.where(np.arange(100) % 2, 1.0, -1.0)[:, None]
    small, large = (quantity("mean", here + size * turns, here) for size in (0.04, 0.08))
    assert small.moved == pytest.approx(0, abs=1e-12)
    assert small.moved_error == pytest.approx(0.04 * math.sqrt(100 / 99))
    assert (small.kept, small.replicas) == (True, 154)  # 99·(0.1/0.08)²
    assert not large.kept


def test_replicas_that_diverge_lose_all_and_float64_must_not():
    cases = [
        _precision.Case(PROBLEM, _precision.Arithmetic(name, np.float64), jl.Stepwise()) for name in ("float64", "b")
    ]
    samples = jl.simulate(PROBLEM, 32, _precision.TS, replicas=16, key=jax.random.key(0))
    lost = replace(samples, values=samples.values * np.nan, diverged_at=np.full(16, 3))
    limit, key = jl.SpectralLimit(PROBLEM), jax.random.key(0)
    fine, bad = _precision._rows(cases, [samples, lost], limit, key)
    assert fine.survives
    assert bad.lost == ("mean", "standard deviation", "distance", "controlled mean", "energy distance", "verdict")
    assert (bad.diverged, bad.replicas, bad.cells()[-1]) == (16, 0, "16 replicas diverged")
    json.dumps(bad.as_dict(), allow_nan=False)
    with pytest.raises(ValueError, match="Argument `problem` must converge in float64, but 16 of 16"):
        list(_precision._rows(cases, [lost, samples], limit, key))


@pytest.mark.slow
def test_an_accelerator_is_asked_for_its_own_products(monkeypatch):
    """On a CPU dressed up as one: its own products are those of float32, to the bit."""

    def on_cpu(problem, width, ts, *, devices, **given):
        assert isinstance(devices[0], Accelerator)
        return jl.simulate(problem, width, ts, devices=jax.devices()[:1], **given)

    class Foreseen:
        method = jl.Stepwise(native=False)

    monkeypatch.setattr(_precision, "chosen_devices", lambda devices: (Accelerator(),))
    monkeypatch.setattr(_precision, "plan", lambda *_, **__: Foreseen())
    monkeypatch.setattr(_precision, "simulate", on_cpu)
    found = jl.doctor.precision(PROBLEM, products=[], width=32, replicas=16)
    default = rows(found, "float32, as the device multiplies by default")
    assert [row.method for row in default] == [
        f"Stepwise(native=False, product={DeviceProduct()})",
        f"SStep(block=8, order=2, native=False, product={DeviceProduct()})",
    ]
    assert [row.largest for row in default] == [row.largest for row in rows(found, "float32")]
    assert not any(row.full for row in default)
    assert "NVIDIA" in found.devices
    assert not found.remarks


def test_without_a_limit_there_are_mean_and_standard_deviation():
    problem = jl.Problem(PROBLEM.data, NETWORK, scaling=jl.MeanField())
    samples = jl.simulate(problem, 32, _precision.TS, replicas=16, key=jax.random.key(0))
    assert _precision._limit(problem) is None
    assert list(shares(samples, None)) == ["mean", "standard deviation"]
    # With one whose law has no chance there is no distance to the law.
    problem = jl.Problem(PROBLEM.data, NETWORK, scaling=jl.PowerScaling(0.75))
    case = _precision.Case(problem, _precision.Arithmetic("float64", np.float64), jl.Stepwise())
    samples = jl.simulate(problem, 32, _precision.TS, replicas=16, key=jax.random.key(0))
    (row,) = _precision._rows([case], [samples], _precision._limit(problem), jax.random.key(0))
    assert [each.name for each in row.quantities] == ["mean", "standard deviation", "distance", "controlled mean"]
    assert row.p_value is row.verdict is None


def test_what_cannot_be_audited_is_refused_by_name():
    def refused(name, **given):
        with pytest.raises(ValueError, match=rf"^Argument `{name}` must .+, but .+\.$"):
            jl.doctor.precision(**{"problem": PROBLEM, **SETTINGS, **given})

    refused("width", width=0)
    refused("replicas", replicas=15)
    refused("key", key=0)
    refused("products", products=[10])
    refused("progress", progress=3)
    refused("devices", devices=[])
    refused("problem", problem=NETWORK)
    refused("problem", problem=jl.Problem(PROBLEM.data, NETWORK, scaling=jl.FixedStep(0.1)))
    refused("learning_rate", problem=jl.Problem(PROBLEM.data, NETWORK, learning_rate=1000.0))


def test_json_and_table_and_text_show_the_same_numbers(audit, monkeypatch, capsys):
    asked = {}

    def precision(progress, **given):
        asked.update(given)
        return audit

    monkeypatch.setattr(command.checks, "precision", precision)
    monkeypatch.setenv("COLUMNS", "300")
    assert command.doctor(precision=True, width=7, replicas=17, json=True) == 0
    assert asked == {"width": 7, "replicas": 17}
    printed = json.loads(capsys.readouterr().out)
    assert command.doctor(precision=True) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    text = [line.split() for line in str(audit).splitlines()]
    assert printed["holds"] is True
    assert len(printed["rows"]) == len(audit.rows)
    for row in printed["rows"]:
        worst = max(row["quantities"], key=lambda each: each["moved"])
        moved = [number(worst["moved"], 2)]
        moved += ["±", number(worst["moved_error"], 1)] if worst["moved_error"] else []
        digits = [f"{each['digits']}/{each['meaningful']}" for each in row["quantities"]]
        most = row["replicas"]
        most = "any" if most is None else number(most, 2) if most > 10**6 else str(most)
        said = ("loses " + ", ".join(row["lost"])).split() if row["lost"] else ["survives"]
        beginning = [*row["arithmetic"].split(), number(row["largest_deviations"], 2)]
        line = [*beginning, *moved, *digits, number(row["p_value"], 2), most, *said]
        assert line in table
        assert line in text


def test_the_command_fails_where_float32_loses(audit, monkeypatch, capsys):
    worse = audit._replace(rows=tuple(row._replace(lost=("mean",)) for row in audit.rows))
    monkeypatch.setattr(command.checks, "precision", lambda **_: worse)
    assert command.doctor(precision=True) == 1
    capsys.readouterr()
    with pytest.raises(ValueError, match="Argument `precision` must be given with width, but it is not"):
        command.doctor(width=64)


def test_plain_findings_are_one_object_too(monkeypatch, capsys):
    findings = [
        jl.doctor.Finding("a [b]", "c [d]", True),
        jl.doctor.Finding("e", "f"),
        jl.doctor.Finding("g", "h", False),
    ]
    monkeypatch.setattr(command.checks, "diagnose", lambda: findings)
    assert command.doctor(json=True) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0] == {"name": "a [b]", "text": "c [d]", "ok": True}
    assert command.doctor() == 1
    shown = capsys.readouterr().out
    assert "a [b]" in shown
    assert "c [d]" in shown


def test_a_kind_of_device_is_told_with_its_memory_and_lanes():
    told = _diagnose.known(Accelerator("NVIDIA H100 80GB HBM3", limit=85e9))
    assert told == "known as `H100`, of 80 GB; it says it has 85"
    told = _diagnose.known(Accelerator("Abacus 3000"))
    assert told == "of no known kind, taken for a small one of 16 GB; it does not tell its own"
    found = {finding.name: finding.text for finding in jl.doctor.diagnose()}
    foreseen = jl.simulation.plan(PROBLEM, 4096, [2.0], key=jax.random.key(0), method=jl.Stepwise())
    assert f"at width 4096 for 4 points: {foreseen.lanes} by Stepwise" in found["kind cpu"]


def test_without_64_bits_the_flag_is_named_and_the_folder_of_programs_is_told(tmp_path):
    code = """
import jaxlimit as jl
print([f.text for f in jl.doctor.diagnose() if f.name == "compiled programs"])
try:
    jl.doctor.precision()
except ValueError as error:
    print(error)
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    folder, refusal = done.stdout.splitlines()
    assert str(tmp_path) in folder
    assert "JAX_ENABLE_X64" in refusal


@pytest.mark.slow
def test_the_audit_as_it_is_run_from_the_command_line(tmp_path):
    """In a fresh process, which turns on 64 bits by itself."""
    arguments = ["doctor", "--precision", "--width", "256", "--replicas", "1024", "--json"]
    done = call(*arguments, folder=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    kept = {(row["regime"], row["kind"], row["arithmetic"]): row["survives"] for row in found["rows"]}
    regimes = ("γ = 0.5", "γ = 1")
    for regime in regimes:
        for kind in ("Stepwise", "SStep"):
            assert kept[regime, kind, "float32"]
            assert not kept[regime, kind, "float32, bfloat16 products"]
    assert len(found["remarks"]) == 2
