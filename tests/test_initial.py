"""Initial laws: their draws follow the law they state, in float32, and a wider network contains the narrower one."""

import jax
import numpy as np
import pytest
import scipy.stats

import jaxlimit as jl
from jaxlimit.initial import AbstractEmbedding, AbstractLaw
from tests import laws
from tests.cases import LAWS, VECTOR_LAWS, each
from tests.layer_cases import EMBEDDINGS
from tests.systems import dependence

RANDOM = {name: case for name, case in LAWS.items() if case.second_moment > case.mean**2}


@pytest.mark.parametrize("case", each(LAWS))
def test_a_law_states_its_moments_and_support(case):
    assert case.law.mean == pytest.approx(case.mean, rel=1e-15)
    assert case.law.second_moment == pytest.approx(case.second_moment, rel=1e-15)
    assert case.law.compact_support is case.compact
    assert case.law.full_support is case.full


@pytest.mark.parametrize("case", each(LAWS))
def test_a_law_that_knows_its_third_moment_is_right(case):
    """Zero where it is symmetric; from its atoms; or not known."""
    if case.atoms and len(case.atoms) > 2:
        assert case.law.third_moment == pytest.approx(sum(p * atom**3 for atom, p in case.atoms.items()), rel=1e-12)
    else:
        assert case.law.third_moment == (0.0 if case.law.symmetric else None)


@pytest.mark.parametrize("case", each(LAWS))
def test_a_law_of_atoms_says_so(case):
    assert case.law.atomless is not bool(case.atoms)


def test_a_covariance_of_less_than_full_rank_has_an_atom_in_its_kernel():
    """w·(1, −1) = 0 for w = (ξ, ξ)."""
    singular = jl.initial.MultivariateNormal([[1.0, 1.0], [1.0, 1.0]])
    assert np.all(np.asarray(singular.sample(jax.random.key(0), (100, 2))) @ [1.0, -1.0] == 0)
    assert not singular.atomless
    assert all(law.atomless for law in VECTOR_LAWS.values())


@pytest.mark.parametrize("case", each(LAWS))
def test_a_law_says_whether_it_is_symmetric(case):
    if case.atoms:
        symmetric = all(case.atoms.get(-atom) == pytest.approx(p, rel=1e-12) for atom, p in case.atoms.items())
    else:
        grid = np.linspace(-4.0, 4.0, 81)
        symmetric = bool(np.allclose(case.cdf(grid), 1.0 - case.cdf(-grid), rtol=0, atol=1e-14))
    assert case.law.symmetric is symmetric


@pytest.mark.parametrize("case", each(RANDOM))
def test_draws_follow_the_law(case):
    values = np.asarray(case.law.sample(jax.random.key(11), (200_000,)), np.float64)
    spread = np.sqrt(case.second_moment - case.mean**2)
    laws.assert_mean((values - case.mean) / spread, 0.0, detectable=0.02)
    laws.assert_mean(values**2 / case.second_moment, 1.0, detectable=0.03)
    if case.atoms:
        for atom, probability in case.atoms.items():
            laws.assert_mean(values == atom, probability, detectable=0.02)
        assert set(values) == set(case.atoms)
    else:
        laws.assert_law(values, case.cdf, detectable=0.02)


@pytest.mark.parametrize("case", each(LAWS))
def test_draws_are_float32_whatever_the_precision_of_jax(case):
    assert case.law.sample(jax.random.key(0), (3, 2)).dtype == np.float32


@pytest.mark.parametrize("law", each({name: case.law for name, case in LAWS.items()} | VECTOR_LAWS | EMBEDDINGS))
def test_draws_do_not_depend_on_the_x64_flag(law):
    """A replica depends on its key and number alone. JAX draws a default precision of its own where it may."""
    widths = ((40, 50, 30), 3) if isinstance(law, AbstractEmbedding) else ((200, 3),)
    with jax.enable_x64(False):
        narrow = law.sample(jax.random.key(5), *widths)
    wide = law.sample(jax.random.key(5), *widths)
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (narrow, wide)), strict=True))


@pytest.mark.parametrize("case", each(LAWS))
def test_a_wider_network_begins_with_the_neurons_of_the_narrower_one(case):
    initial = jl.Initial(c=case.law, w=case.law)
    narrow, wide = (initial.sample(jax.random.key(5), width, 3) for width in (37, 1000))
    for few, many in zip(narrow, wide, strict=True):
        assert np.array_equal(few, many[:37])


@pytest.mark.parametrize("case", each(RANDOM))
def test_different_keys_give_different_draws(case):
    first, second = (case.law.sample(jax.random.key(seed), (64,)) for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("case", each(RANDOM))
def test_output_and_input_weights_come_from_separate_streams(case):
    # Rank correlations of 4000 independent pairs have standard deviation 1/√4000; 1e-6 for 4 of them is z = 5.2.
    c, w = jl.Initial(c=case.law, w=case.law).sample(jax.random.key(0), 4000, 3)
    assert dependence(c, w) < 5.2 / np.sqrt(4000)


@pytest.mark.parametrize("case", each(RANDOM))
def test_one_stream_for_both_would_be_noticed(case):
    key = jax.random.key(0)
    assert dependence(case.law.sample(key, (4000,)), case.law.sample(key, (4000, 3))) > 0.99


def test_a_certain_value_is_drawn_always():
    assert np.all(np.asarray(jl.initial.Dirac(0.3).sample(jax.random.key(0), (5, 2))) == np.float32(0.3))


@pytest.mark.parametrize("law", each(VECTOR_LAWS))
class TestVectorLaws:
    """All of w at once."""

    def test_draws_have_the_stated_covariance(self, law):
        w = np.asarray(law.sample(jax.random.key(3), (200_000, law.inputs)), np.float64)
        laws.assert_mean(w, 0.0, detectable=0.03)
        products = w[:, :, None] * w[:, None, :]
        laws.assert_mean(products.reshape(len(w), -1), law.covariance.ravel(), detectable=0.06)
        assert law.second_moment == pytest.approx(np.trace(law.covariance) / 3)
        direction = np.array([0.3, -1.0, 0.7])
        spread = np.sqrt(direction @ law.covariance @ direction)
        laws.assert_law(w @ direction / spread, scipy.stats.norm.cdf, detectable=0.02)

    def test_a_wider_network_begins_with_the_neurons_of_the_narrower_one(self, law):
        wide = law.sample(jax.random.key(5), (1000, 3))
        assert wide.dtype == np.float32
        for width in (1, 37, 512):
            assert np.array_equal(law.sample(jax.random.key(5), (width, 3)), wide[:width])

    def test_equal_laws_are_equal_and_are_hashed(self, law):
        again = type(law)(law.covariance)
        assert law == again
        assert hash(law) == hash(again)
        assert law != type(law)(2 * law.covariance)

    def test_it_is_a_law_of_w_with_its_own_number_of_inputs(self, law):
        with pytest.raises(ValueError, match="Argument `c` must have a law of one coordinate"):
            jl.Initial(c=law)
        network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial(w=law))
        problem = jl.Problem(jl.Data(np.eye(2), [1.0, -1.0]), network)
        for attempt in (
            lambda: jl.gram(network, np.eye(2)),
            lambda: jl.simulate(problem, 8, [0.0], replicas=1, key=jax.random.key(0)),
        ):
            with pytest.raises(ValueError, match="Argument `network` must draw w with 2 coordinates like the points"):
                attempt()


def test_support_follows_the_rank_of_the_covariance():
    for covariance, full in (
        ([[1.0, 0.0], [0.0, 2.0]], True),
        ([[1.0, 0.0], [0.0, 0.0]], False),
        ([[1.0, 1.0], [1.0, 1.0]], False),
    ):
        law = jl.initial.MultivariateNormal(covariance)
        assert law.full_support is full
        w = np.asarray(law.sample(jax.random.key(0), (4096, 2)), np.float64)
        assert np.allclose(w.T @ w / 4096, covariance, atol=0.25)


NO_NUMBERS = ("a", None, True, 1j, 10**400)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: jl.initial.Normal(np.nan), "mean"),
        (lambda: jl.initial.Normal(0.0, 0.0), "std"),
        (lambda: jl.initial.Normal(0.0, -1.0), "std"),
        (lambda: jl.initial.Normal(0.0, np.inf), "std"),
        (lambda: jl.initial.Uniform(1.0, 1.0), "low"),
        (lambda: jl.initial.Uniform(1.0, -1.0), "low"),
        (lambda: jl.initial.Uniform(-np.inf, 1.0), "low"),
        (lambda: jl.initial.Uniform(0.0, np.nan), "high"),
        (lambda: jl.initial.Rademacher(0.0), "scale"),
        (lambda: jl.initial.Discrete([1.0, 2.0], [0.5]), "probabilities"),
        (lambda: jl.initial.Discrete([1.0, 2.0], [0.5, 0.4]), "probabilities"),
        (lambda: jl.initial.Discrete([1.0, 2.0], [1.5, -0.5]), "probabilities"),
        (lambda: jl.initial.Discrete([1.0, np.nan], [0.5, 0.5]), "values"),
        (lambda: jl.initial.Discrete([], []), "values"),
        (lambda: jl.initial.Discrete(1.0, 1.0), "values"),
        *((lambda v=v: jl.initial.Dirac(v), "value") for v in (*NO_NUMBERS, np.inf)),
        (lambda: jl.initial.MultivariateNormal([1.0]), "covariance"),
        (lambda: jl.initial.MultivariateNormal([[1.0, 0.0]]), "covariance"),
        (lambda: jl.initial.MultivariateNormal([[1.0, 0.5], [0.4, 1.0]]), "covariance"),
        (lambda: jl.initial.MultivariateNormal([[1.0, 2.0], [2.0, 1.0]]), "covariance"),
        (lambda: jl.initial.MultivariateNormal([[0.0]]), "covariance"),
        (lambda: jl.initial.MultivariateNormal([[np.inf]]), "covariance"),
        *((lambda v=v: jl.initial.Normal(v), "mean") for v in NO_NUMBERS),
        *((lambda v=v: jl.initial.Normal(0, v), "std") for v in NO_NUMBERS),
        *((lambda v=v: jl.initial.Uniform(v, 1), "low") for v in NO_NUMBERS),
        *((lambda v=v: jl.initial.Uniform(0, v), "high") for v in NO_NUMBERS),
        *((lambda v=v: jl.initial.Rademacher(v), "scale") for v in NO_NUMBERS),
    ],
)
def test_laws_that_do_not_exist_are_refused(make, name):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        make()


def test_an_abstract_law_cannot_be_made():
    with pytest.raises(TypeError):
        AbstractLaw()
