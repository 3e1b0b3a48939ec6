"""The helpers of random tests are tests too: their false-alarm rates and their detectable sizes are checked."""

import numpy as np
import pytest
import scipy.stats

from tests import laws


def alarms(check, repetitions):
    """How many of the repetitions raise a plain assertion; a test that calls itself too weak is an error here."""
    count = 0
    for repetition in range(repetitions):
        try:
            check(np.random.default_rng([7, repetition]))
        except laws.TooWeakError:
            raise
        except AssertionError:
            count += 1
    return count


def binomial_within(events, trials, probability):
    """Independent of laws.py: the count lies within its central 1 − 1e-6 interval."""
    low, high = scipy.stats.binom.ppf([5e-7, 1 - 5e-7], trials, probability)
    return low <= events <= high


def test_mean_alarms_at_its_stated_rate():
    # 2 components at 0.1 in all, Bonferroni: 1 − 0.95² = 0.0975 for independent ones.
    count = alarms(lambda rng: laws.assert_mean(rng.standard_normal((400, 2)), 0.0, 1.0, false_alarm=0.1), 1000)
    assert binomial_within(count, 1000, 0.0975)


def test_mean_catches_its_detectable_size():
    n, z = 400, scipy.stats.norm.isf(5e-7) + scipy.stats.norm.isf(0.01)
    shift = 1.1 * z / np.sqrt(n)  # 10% above, so that the random s never makes the test call itself too weak
    count = alarms(lambda rng: laws.assert_mean(shift + rng.standard_normal(n), 0.0, 1.2 * shift), 300)
    assert count >= scipy.stats.binom.isf(1 - 1e-6, 300, 0.99)


def test_law_alarms_at_its_stated_rate():
    check = lambda rng: laws.assert_law(rng.standard_normal(300), scipy.stats.norm.cdf, 0.5, false_alarm=0.1)  # noqa: E731
    assert binomial_within(alarms(check, 1000), 1000, 0.1)


def test_law_catches_its_detectable_size():
    n = 2000
    size = float(scipy.stats.kstwo.isf(1e-6, n)) + np.sqrt(np.log(100) / (2 * n))
    shift = 2 * scipy.stats.norm.ppf(0.5 + size / 2)  # two normal laws at exactly this distance
    check = lambda rng: laws.assert_law(shift + rng.standard_normal(n), scipy.stats.norm.cdf, 1.0001 * size)  # noqa: E731
    assert alarms(check, 200) >= scipy.stats.binom.isf(1 - 1e-6, 200, 0.99)


def test_rates_alarm_at_their_stated_rate():
    trials, rate, alarm = 2000, 0.05, 0.1
    # Sums over the binomial law, no sampling: P(alarm) where the rate is exactly right, and where it is too large.
    events = np.arange(trials + 1)
    raised = np.array([_raises(laws.assert_rate_at_most, k, trials, rate, 0.09, alarm) for k in events])
    assert 0.5 * alarm < np.sum(scipy.stats.binom.pmf(events, trials, rate)[raised]) <= alarm
    assert np.sum(scipy.stats.binom.pmf(events, trials, 0.09)[raised]) >= 0.99
    raised = np.array([_raises(laws.assert_rate_at_least, k, trials, 1 - rate, 0.91, alarm) for k in events])
    assert 0.5 * alarm < np.sum(scipy.stats.binom.pmf(events, trials, 1 - rate)[raised]) <= alarm


def _raises(check, *arguments):
    try:
        check(*arguments)
    except laws.TooWeakError:
        raise
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize(
    "check",
    [
        lambda rng: laws.assert_mean(rng.standard_normal(400), 0.0, 0.1),
        lambda rng: laws.assert_law(rng.standard_normal(400), scipy.stats.norm.cdf, 0.05),
        lambda rng: laws.assert_rate_at_most(0, 100, 0.01, 0.02),
        lambda rng: laws.assert_rate_at_least(100, 100, 0.99, 0.98),
    ],
)
def test_a_sample_too_small_for_its_claim_is_refused(check):
    with pytest.raises(laws.TooWeakError):
        check(np.random.default_rng(0))
