"""The existing models that an experiment learns from score its clips before its training, and no others."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from laboratory import silent

import peer_stand_in
from mtqnet.targets import KEYS
from research.experiments import arms, schedule
from research.experiments.arms import Lab
from research.experiments.study import Arm, Study, Table

PEERS = {"heads": ["distillmos", "dnsmos_p808"], "clips": 6}
ARM = Arm("taught by peers", labelled=0, objective="pseudo", change={"transfer": True, "existing_models": PEERS})
TABLE = Table("taught", "Taught", "Does it help?", "taught", {"taught": ARM})


def test_an_arm_learns_from_peers(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer_stand_in.put_in(tmp_path, monkeypatch, peer_stand_in.BY_PLACE)
    fresh = Lab(lab.base, lab.material, tmp_path / "out", lab.corpus_digest)
    study = Study(fresh.base, {"taught": TABLE})
    schedule.run_all(fresh, study, 1, 1, silent, lambda *_: None, Path(sys.executable))
    config = fresh.config(ARM, 1)
    said = fresh.peers_said(config, "train")
    assert list(said) == PEERS["heads"]
    np.testing.assert_array_equal(np.isnan(said["distillmos"]), np.arange(12) >= 6)
    _, pseudo, _ = arms.teach(fresh, config)
    known = said["distillmos"][:6]
    np.testing.assert_array_equal(pseudo["distillmos"][:6], known)
    assert np.isfinite(pseudo["distillmos"]).all()  # MOSA-Net predicts it for the others
    scores = arms.read(fresh.result(ARM, 1)).scores
    assert set(scores["test"]) == set(KEYS)  # no model serves the peers' heads
