"""The label ensemble: weights by kind of processing, one scale, and the disagreement of the sources."""

from __future__ import annotations

import numpy as np
import pytest

from mtqnet.corpus import chain
from mtqnet.corpus.degradations import STEPS
from mtqnet.errors import CorpusError
from mtqnet.labels import ensemble
from mtqnet.labels.ensemble import CODEC, KINDS, NOISE, SUPPRESSION, Label, Line

RNG = np.random.default_rng(3)
TRUTH = RNG.uniform(1.3, 4.7, 2_000)
SAME = Line(1.0, 0.0)


def label(weights: dict[str, float]) -> Label:
    """N-MOS with the same weights for each kind and no change of scale."""
    return Label({"n_mos": SAME, "dnsmos_bak": SAME}, dict.fromkeys(KINDS, weights), SAME)


def test_every_step_of_the_corpus_has_a_kind() -> None:
    assert set(STEPS) <= set(ensemble.KIND_OF)
    assert chain.names() <= set(ensemble.KIND_OF)
    assert set(ensemble.KIND_OF.values()) == {*KINDS, ""}


def test_kinds_follow_the_steps_of_the_recipe() -> None:
    assert ensemble.kinds_of(["RecordedNoise", "Opus", "Playback"]) == (NOISE, CODEC)
    assert ensemble.kinds_of(["RecordedNoise", "Dtln"]) == (SUPPRESSION,)
    assert ensemble.kinds_of(["Playback"]) == ()
    with pytest.raises(CorpusError, match="'Telepathy' has no kind"):
        ensemble.kinds_of(["Telepathy"])


def test_the_weights_are_those_of_the_kinds() -> None:
    weights = {kind: {"n_mos": 1.0, "dnsmos_bak": 0.0} for kind in KINDS}
    weights[SUPPRESSION] = {"n_mos": 0.25, "dnsmos_bak": 0.75}
    made = ensemble.combine(
        "n_mos",
        {"n_mos": np.full(3, 2.0), "dnsmos_bak": np.full(3, 4.0)},
        [(NOISE,), (SUPPRESSION,), (SUPPRESSION, CODEC)],
        Label({"n_mos": SAME, "dnsmos_bak": SAME}, weights, SAME),
    )
    np.testing.assert_allclose(made.values, [2.0, 3.5, 2.0 + 2.0 * 0.75 / 2])


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


def test_independent_errors_average_out() -> None:
    sources = {key: TRUTH + 0.4 * RNG.standard_normal(len(TRUTH)) for key in ("n_mos", "dnsmos_bak")}
    made = ensemble.combine("n_mos", sources, [(NOISE,)] * len(TRUTH), label({"n_mos": 0.5, "dnsmos_bak": 0.5}))
    error = np.std(made.values - TRUTH)
    assert error < 0.8 * min(np.std(values - TRUTH) for values in sources.values())


def test_a_line_gives_the_mean_and_deviation_of_the_other_scale() -> None:
    other = 2 + 0.4 * TRUTH
    other[::5] = np.nan
    line = ensemble.line_between(other, TRUTH)
    assert line.slope == pytest.approx(2.5)
    assert line.offset == pytest.approx(-5.0)


def test_disagreement_lowers_the_weight_in_the_loss_and_the_mean_stays_one() -> None:
    weights = ensemble.loss_weights(np.array([0.0, ensemble.TOLERANCE_MOS, 2.0, np.nan]))
    assert weights[0] == pytest.approx(2 * weights[1])
    assert weights[1] > weights[2]
    assert np.mean(weights[:3]) == pytest.approx(1.0)
    assert weights[3] == 1.0


def test_precision_is_zero_without_agreement_and_rises_with_it() -> None:
    assert ensemble.precision(-0.5) == ensemble.precision(0.0) == 0.0
    assert 0 < ensemble.precision(0.6) < ensemble.precision(0.9) < ensemble.precision(1.0) < np.inf


def test_the_shipped_weights_cover_each_kind_and_sum_to_one() -> None:
    fitted = ensemble.labels()
    assert set(fitted) == set(ensemble.SOURCES)
    for key, made in fitted.items():
        assert set(made.weights) == set(KINDS)
        for weights in made.weights.values():
            assert set(weights) <= set(ensemble.SOURCES[key])
            assert sum(weights.values()) == pytest.approx(1.0, abs=1e-3)
            assert min(weights.values()) >= 0
