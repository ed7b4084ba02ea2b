"""Stored scores of existing models are used again for the same clips only."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from laboratory import silent

import peer_stand_in
from mtqnet.errors import UsageError
from research.experiments import peer_table, schedule
from research.experiments.arms import Lab
from research.experiments.material import TESTS
from research.experiments.study import Arm, Study, Table

ARM = Arm("DNSMOS", kind="dnsmos")
TABLE = Table("peers", "Peers", "What do they say?", "dnsmos", {"dnsmos": ARM})


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> schedule.PeersAt:
    peer_stand_in.put_in(tmp_path, monkeypatch, peer_stand_in.BY_PLACE)
    monkeypatch.setattr(schedule, "PEER_CLIPS", 2)
    return schedule.PeersAt(Path(sys.executable), tmp_path / "results" / peer_table.NAME)


def score(lab: Lab, at: schedule.PeersAt) -> None:
    schedule.score_peers(lab, Study(lab.base, {"peers": TABLE}), at, 2, silent)


def test_a_second_lab_takes_what_was_said_to_the_first(lab: Lab, at: schedule.PeersAt, tmp_path: Path) -> None:
    score(lab, at)
    first = schedule.results(lab, ARM, 5, at.table)
    elsewhere = Lab(lab.base, lab.material, tmp_path / "other", lab.corpus_digest)
    score(elsewhere, schedule.PeersAt(tmp_path / "no python", at.table))
    (again,) = schedule.results(elsewhere, ARM, 5, at.table)
    for test in TESTS:
        values = again.scores[test]["s_mos"]
        np.testing.assert_array_equal(values, first[0].scores[test]["s_mos"])
        np.testing.assert_array_equal(values[:2], [1.0, 1.1])
        assert len(values) == len(lab.material.test(test).clips) and np.isnan(values[2:]).all()


def test_clips_of_another_corpus_are_scored_again(lab: Lab, at: schedule.PeersAt, tmp_path: Path) -> None:
    score(lab, at)
    other = Lab(lab.base, lab.material, tmp_path / "other", "0" * 16)
    with pytest.raises(UsageError, match="make peers"):
        score(other, schedule.PeersAt(tmp_path / "no python", at.table))
    with pytest.raises(UsageError, match="lacks clips"):
        schedule.results(other, ARM, 5, at.table)
    table = peer_table.read(at.table, "0" * 16)  # what people rated is the same for every corpus
    assert table.said("csp835", peer_table.names(lab.material, "csp835", 2)) is not None


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "peers.csv").write_text("test,clip\n")
    with pytest.raises(UsageError, match="corpus"):
        peer_table.read(tmp_path / "peers.csv", "")
