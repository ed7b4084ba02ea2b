"""Conditions, agreement and page of the comparison with predictors after noise suppression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtqnet.corpus.degradations import KIND_OF, STEPS, SUPPRESSION
from mtqnet.corpus.sources import Item
from research import witnesses
from research.witnesses import Case, agreement, build, compare, labels_before, labels_now, page

SPEECH, NOISE = Item("speech.flac", "one", 5.0), Item("street/noise.flac", "noise", 5.0)
CASES = [
    Case(suppressor, snr_db, number, SPEECH, NOISE, Path())
    for suppressor in ("none", "DTLN", "WebRTC")
    for snr_db in witnesses.SNRS_DB
    for number in range(2)
]
RNG = np.random.default_rng(1)
GAIN = {"none": 0.0, "DTLN": 1.5, "WebRTC": 0.5}
PREDICTED = np.array([2 + 0.05 * case.snr_db + GAIN[case.suppressor] for case in CASES])


def test_every_suppressor_is_a_step_of_the_corpus_of_that_kind() -> None:
    for step, parameters in witnesses.SUPPRESSORS.values():
        if step:
            STEPS[step](**parameters)
            assert KIND_OF[step] == SUPPRESSION


def test_the_slope_is_the_improvement_relative_to_that_of_the_predictor() -> None:
    scores = 1 + 0.4 * PREDICTED + 0.3 * RNG.choice([-1, 1], 12).repeat(2) * np.tile([1, -1], 12)
    found = agreement("labels", "n_mos", "dnsmos_bak", CASES, scores, PREDICTED)
    assert found.conditions == 12
    assert found.slope == pytest.approx(0.4)
    assert found.lcc == pytest.approx(1.0)
    assert found.lcc_clip < 0.95


def test_a_score_that_ignores_suppression_has_no_slope() -> None:
    scores = np.array([2 + 0.05 * case.snr_db for case in CASES])
    assert agreement("labels", "n_mos", "dnsmos_bak", CASES, scores, PREDICTED).slope == pytest.approx(0.0)


def test_the_page_states_what_predictors_are_and_has_a_row_for_each_condition() -> None:
    columns = dict.fromkeys(("s_mos", "n_mos", "g_mos"), PREDICTED)
    predicted = dict.fromkeys(witnesses.PREDICTORS, PREDICTED)
    text = page(CASES, {"labels": columns, "base": columns}, predicted)
    assert "They are not listeners" in text
    assert "| DTLN | 15 |" in text
    assert len(compare(CASES, {"labels": columns, "base": columns}, predicted)) == 2 * len(witnesses.PAIRS)


def test_noise_kinds_come_in_turn() -> None:
    items = [Item(f"{kind}/{name}.flac", name, seconds) for kind, name, seconds in (
        ("street", "a", 9.0), ("street", "b", 8.0), ("rain", "c", 5.0), ("rain", "short", 1.0))]  # fmt: skip
    assert [item.group for item in witnesses._varied(items)] == ["c", "a", "b"]


def test_signals_are_stored_with_their_components(shared_data: Path, tmp_path: Path) -> None:
    case = next(case for case in witnesses.cases(shared_data, tmp_path) if case.suppressor == "Wiener")
    build([case])
    made = case.tracks()
    assert case.processed.exists()
    now, before = labels_now(made), labels_before(made)
    assert now.n_mos > before.n_mos + 0.1, "the emptied pauses must count"
