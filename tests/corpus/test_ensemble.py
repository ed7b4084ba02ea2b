"""The label ensemble: weights by kind of processing, one scale, and the disagreement of the sources."""

from __future__ import annotations

import numpy as np
import pytest

from mtqnet.corpus import ensemble
from mtqnet.corpus import recipe as chain
from mtqnet.corpus.degradations import (
    CODEC,
    GENERATED,
    KIND_OF,
    KINDS,
    MODULATED,
    NOISE,
    STEPS,
    SUPPRESSION,
    VOCODER,
    kinds_of,
)
from mtqnet.corpus.ensemble import Label, Line, Mix
from mtqnet.errors import CorpusError
from research import fit_ensemble

RNG = np.random.default_rng(3)
TRUTH = RNG.uniform(1.3, 4.7, 2_000)
SAME = Line(1.0, 0.0)


LINES = {"n_mos": SAME, "dnsmos_bak": SAME}


def label(weights: dict[str, float]) -> Label:
    """N-MOS with the same weights for each kind and no change of scale."""
    return dict.fromkeys(KINDS, Mix(LINES, weights))


def test_every_step_of_the_corpus_has_a_kind() -> None:
    assert chain.names() <= set(STEPS) == set(KIND_OF)
    assert {*KIND_OF.values(), VOCODER} == {*KINDS, ""}
    assert {KIND_OF[step] for step in GENERATED} == {CODEC}


def test_kinds_follow_the_steps_of_the_recipe() -> None:
    assert kinds_of(["RecordedNoise", "Opus", "Playback"]) == (NOISE, CODEC)
    assert kinds_of(["RecordedNoise", "Dtln"]) == (SUPPRESSION,)
    assert kinds_of(["LyraV2", "Playback"]) == (VOCODER,)
    assert kinds_of(["Playback"]) == ()
    with pytest.raises(CorpusError, match="unknown step 'Telepathy'"):
        kinds_of(["Telepathy"])


def test_lines_and_weights_are_those_of_the_kinds() -> None:
    mixes = label({"n_mos": 1.0, "dnsmos_bak": 0.0})
    mixes = {
        **mixes,
        SUPPRESSION: Mix({"n_mos": SAME, "dnsmos_bak": Line(1.0, 0.4)}, {"n_mos": 0.25, "dnsmos_bak": 0.75}),
    }
    made = ensemble.combine(
        "n_mos",
        {"n_mos": np.full(4, 2.0), "dnsmos_bak": np.full(4, 4.0)},
        [(NOISE,), (SUPPRESSION,), (SUPPRESSION, CODEC), ()],
        mixes,
    )
    np.testing.assert_allclose(made.values, [2.0, 3.8, 2.9, 2.0])


def test_the_disagreement_is_the_deviation_of_the_sources() -> None:
    sources = {"n_mos": np.array([2.0, 3.0, 3.0]), "dnsmos_bak": np.array([4.0, 3.0, np.nan])}
    made = ensemble.combine("n_mos", sources, [(NOISE,)] * 3, label({"n_mos": 0.5, "dnsmos_bak": 0.5}))
    np.testing.assert_allclose(made.values, [3.0, 3.0, 3.0])
    np.testing.assert_allclose(made.disagreement, [1.0, 0.0, np.nan])


def test_an_unknown_source_is_omitted_and_without_any_there_is_no_label() -> None:
    sources = {"n_mos": np.array([np.nan, 2.0]), "dnsmos_bak": np.array([np.nan, np.nan])}
    made = ensemble.combine("n_mos", sources, [(NOISE,)] * 2, label({"n_mos": 0.5, "dnsmos_bak": 0.5}))
    np.testing.assert_array_equal(np.isnan(made.values), [True, False])
    assert made.values[1] == 2.0


def test_the_labeller_alone_keeps_its_scale() -> None:
    mixes = dict.fromkeys(
        KINDS, Mix({"n_mos": Line(1.2, -0.4), "dnsmos_bak": SAME}, {"n_mos": 0.5, "dnsmos_bak": 0.5})
    )
    made = ensemble.combine("n_mos", {"n_mos": np.array([1.5, 4.5])}, [(CODEC,)] * 2, mixes)
    np.testing.assert_array_equal(made.values, [1.5, 4.5])


def test_independent_errors_average_out() -> None:
    sources = {key: TRUTH + 0.4 * RNG.standard_normal(len(TRUTH)) for key in ("n_mos", "dnsmos_bak")}
    made = ensemble.combine("n_mos", sources, [(NOISE,)] * len(TRUTH), label({"n_mos": 0.5, "dnsmos_bak": 0.5}))
    error = np.std(made.values - TRUTH)
    assert error < 0.8 * min(np.std(values - TRUTH) for values in sources.values())


def test_a_line_gives_the_mean_and_deviation_of_the_other_scale() -> None:
    other = 2 + 0.4 * TRUTH
    other[::5] = np.nan
    line = fit_ensemble.line_between(other, TRUTH)
    assert line.slope == pytest.approx(2.5)
    assert line.offset == pytest.approx(-5.0)


def test_disagreement_lowers_the_weight_in_the_loss_and_the_mean_stays_one() -> None:
    weights = ensemble.loss_weights(np.array([0.0, ensemble.TOLERANCE_MOS, 2.0, np.nan]))
    assert weights[0] == pytest.approx(2 * weights[1])
    assert weights[1] > weights[2]
    assert np.mean(weights[:3]) == pytest.approx(1.0)
    assert weights[3] == 1.0


def test_precision_is_zero_without_agreement_and_rises_with_it() -> None:
    assert fit_ensemble.precision(-0.5) == fit_ensemble.precision(0.0) == 0.0
    assert 0 < fit_ensemble.precision(0.6) < fit_ensemble.precision(0.9) < fit_ensemble.precision(1.0) < np.inf


def test_the_shipped_weights_cover_each_kind_and_sum_to_one() -> None:
    fitted = ensemble.labels()
    assert set(fitted) == set(ensemble.SOURCES)
    for key, made in fitted.items():
        assert set(made) == set(KINDS)
        for mix in made.values():
            assert set(mix.weights) == set(mix.lines) == set(ensemble.SOURCES[key])
            assert sum(mix.weights.values()) == pytest.approx(1.0, abs=1e-3)
            assert min(mix.weights.values()) >= 0
            assert all(line.slope > 0 for line in mix.lines.values())


def test_the_shipped_ensemble_stays_near_the_labeller_where_ratings_exist() -> None:
    """Ratings of noise, modulated noise and neural codecs agree with the labeller at least as well."""
    for made in ensemble.labels().values():
        assert (
            min(made[kind].weights[next(iter(made[kind].weights))] for kind in (NOISE, MODULATED, VOCODER)) >= 0.5
        )
