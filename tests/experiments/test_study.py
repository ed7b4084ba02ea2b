"""Tables of experiments: the committed ones can be read, and a typing mistake is reported before the training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtqnet.corpus.peer_worker import COLUMNS
from mtqnet.errors import UsageError
from research.experiments import study
from research.experiments.schedule import of_kind

CONFIGS = Path(__file__).parents[2] / "configs/reproduce"
HEAD = 'title = "t"\nquestion = "q"\nreference = "one"\n'


def written(folder: Path, text: str) -> Path:
    (folder / "base.toml").write_text((CONFIGS / "base.toml").read_text())
    (folder / "mine.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def committed() -> study.Study:
    return study.load(CONFIGS, study.TABLES)


def test_the_four_tables_of_the_paper_are_there_and_what_was_varied(committed: study.Study) -> None:
    assert tuple(committed.tables) == ("training", "labels", "models", "loss", "levers", "recipe")


def test_training_has_the_papers_arms_and_the_one_it_lacks(committed: study.Study) -> None:
    arms = committed.tables["training"].arms
    assert {"scratch", "transfer", "mpl", "true_labels", "teacher"} <= set(arms)
    assert arms["scratch"].objective == "none" and not arms["scratch"].unlabelled
    assert study.configured(committed.base, arms["transfer"], "").transfer
    assert arms["mpl"].objective == "pseudo" and arms["true_labels"].objective == "true"


def test_loss_has_every_distance_with_and_without_frames_and_with_noisy_raters(committed: study.Study) -> None:
    arms = committed.tables["loss"].arms.values()
    found = set()
    for arm in arms:
        loss = study.configured(committed.base, arm, "").loss
        found.add((loss.kind, loss.delta if loss.kind == "huber" else 0, loss.frame_weight > 0, arm.rater_noise))
    distances = [("mse", 0), ("mae", 0), *(("huber", delta) for delta in (0.25, 0.5, 1.0, 2.0))]
    assert found == {(*d, *rest) for d in distances for rest in ((True, False), (False, False), (True, True))}


def test_labels_has_every_number_of_labels_for_each_way_of_training(committed: study.Study) -> None:
    arms = committed.tables["labels"].arms
    for way in ("scratch", "transfer", "mpl"):
        assert {arm.labelled for name, arm in arms.items() if name.startswith(way)} == {50, 200, 1000, 0}


def test_models_has_the_rivals_and_the_peers(committed: study.Study) -> None:
    kinds = {arm.kind for arm in committed.tables["models"].arms.values()}
    assert kinds == {"network", "mean_pool", "fine_tuned", "ridge", "dnsmos", "dnsmos_p808", "distillmos"}


def test_an_arm_changes_what_it_names_and_nothing_else(committed: study.Study) -> None:
    arm = study.Arm("a", change={"loss": {"kind": "mse"}})
    made = study.configured(committed.base, arm, "")
    assert made.loss == replace(committed.base.loss, kind="mse")
    assert made.network == committed.base.network and made.student == committed.base.student


def test_arms_are_compared_with_the_reference_or_what_they_name(tmp_path: Path) -> None:
    text = HEAD + '[arms.one]\nsays="1"\n[arms.two]\nsays="2"\n[arms.three]\nsays="3"\nagainst=["two", "one"]\n'
    table = study.table(written(tmp_path, text) / "mine.toml")
    assert [table.against(name) for name in table.arms] == [(), ("one",), ("two", "one")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + "[arms.one]\n", "'says' is missing"),
        (HEAD + '[arms.one]\nsays="1"\nlabeled=3\n', "unknown key 'labeled'"),
        (HEAD + '[arms.one]\nsays="1"\nkind="forest"\n', "expected one of"),
        (HEAD + '[arms.one]\nsays="1"\nchange={ los = { kind = "mse" } }\n', "unknown key 'los'"),
        (HEAD + '[arms.one]\nsays="1"\nchange={ loss = { kid = "mse" } }\n', "unknown key 'kid'"),
        (HEAD + '[arms.one]\nsays="1"\nagainst=["two"]\n', "no arm 'two'"),
        (HEAD.replace('"one"', '"none"') + '[arms.one]\nsays="1"\n', "no arm 'none'"),
        ('title = "t"\n', "'question' is missing"),
        ("title = ", "is not TOML"),
    ],
)
def test_mistakes_say_where_they_are(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says) as told:
        study.load(written(tmp_path, text), ("mine",))
    assert "mine.toml" in str(told.value)


def test_missing_table_states_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--configs"):
        study.load(tmp_path, ("training",))


def test_what_stands_for_a_target_is_a_column_of_a_peer() -> None:
    columns = {column for named in COLUMNS.values() for column in named}
    assert {column for stands in study.PEERS.values() for column in stands.values()} == columns


def test_the_columns_of_a_peer_come_by_target() -> None:
    names = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl")
    scores = {name: np.array([float(place)]) for place, name in enumerate(names)}
    assert of_kind("dnsmos", scores) == {"s_mos": [0.0], "n_mos": [1.0], "g_mos": [2.0]}
