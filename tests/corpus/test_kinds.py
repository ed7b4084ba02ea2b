"""All kinds of processing are counted by group, in the program and in the clips of a corpus."""

from __future__ import annotations

import json

import pytest

from mtqnet.cli import corpus
from mtqnet.corpus import degradations
from mtqnet.corpus import recipe as chain
from mtqnet.corpus.build import Order, prepared
from mtqnet.corpus.degradations import STEPS, step
from mtqnet.corpus.degradations.step import Need
from mtqnet.corpus.describe import group, kinds, summary
from mtqnet.corpus.sources import Sources
from mtqnet.errors import MissingExtraError, UsageError


def test_there_are_at_least_seventy_kinds_and_forty_codecs_and_suppressors() -> None:
    found = kinds()
    assert len(found) == len(STEPS) >= 70
    assert sum(kind.group in ("codec", "suppressor") for kind in found) >= 40


@pytest.mark.parametrize(
    ("name", "kind"),
    [("Opus", "codec"), ("LyraV2", "codec"), ("Dtln", "suppressor"), ("SpectralGain", "suppressor"),
     ("Resynthesis", "other"), ("AutomaticGain", "other"), ("Splice", "other")],
)  # fmt: skip
def test_groups(name: str, kind: str) -> None:
    assert group(name) == kind


def test_codecs_and_suppressors_of_the_chain_are_of_these_groups() -> None:
    assert {group(name) for name in (*chain.CODEC.kinds, *chain.HELD_OUT_CODECS, "AmrWb")} == {"codec"}
    assert {group(name) for name in (*chain.SUPPRESSOR.kinds, *chain.HELD_OUT_SUPPRESSORS, "Hush")} == {
        "suppressor"
    }


def test_held_out_kinds_name_their_split() -> None:
    assert {kind.name: kind.held_out for kind in kinds() if kind.held_out} == {
        **dict.fromkeys(("Aac", "G7231", "SpeexDsp", "Gtcrn"), "unseen"),
        **dict.fromkeys(("AmrWb", "Hush"), "unseen2"),
    }


def test_clips_are_summed_up() -> None:
    ordinary = [{"step": "WhiteNoise"}, {"step": "Dtln", "wet": 1.0}, {"step": "Playback"}]
    spliced = [{"step": "Splice", "steps": [{"step": "Opus", "kbps": 6}]}, {"step": "Playback"}]
    told = summary([{"recipe": json.dumps({"steps": steps})} for steps in (ordinary, spliced, spliced, spliced)])
    assert "5 of" in told and "1 codecs and 1 suppressors" in told and "1 clips, 25.0%" in told


def test_list_shows_the_counts(capsys: pytest.CaptureFixture[str]) -> None:
    corpus.kinds()
    printed = capsys.readouterr().out
    assert f"{len(STEPS)} kinds of processing" in printed and "OpusNeural" in printed


def test_kinds_without_their_tool_are_left_out_by_name(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "has_library", lambda name: name != "libgsm.so.1")
    order, made = prepared(Order(sources, {"train": 3}, 1, without=("missing", "Siren")))
    assert {"GsmFr", "Siren"} <= set(order.without) and "missing" not in order.without
    assert all(pool.without == order.without for pool in made.values())


def test_tools_are_asked_for_only_by_splits_that_are_built(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        degradations, "missing", lambda kind: [Need("x", "get x", bool)] if kind == "AmrWb" else []
    )
    prepared(Order(sources, {"train": 3, "unseen": 2, "unseen2": 0}, 1))
    with pytest.raises(MissingExtraError, match=r"get x.*--without AmrWb"):
        prepared(Order(sources, {"unseen2": 2}, 1))


def test_a_split_needs_one_of_its_held_out_tools(sources: Sources) -> None:
    with pytest.raises(UsageError, match="unseen2 needs one of AmrWb, Hush"):
        prepared(Order(sources, {"unseen2": 2}, 1, without=("missing", "AmrWb", "Hush")))


def test_unknown_kind_is_refused(sources: Sources) -> None:
    with pytest.raises(UsageError, match="no kind of processing Hologram"):
        prepared(Order(sources, {"train": 2}, 1, without=("Hologram",)))


def test_clips_are_shared_between_splits_and_the_second_group_is_asked_for() -> None:
    assert corpus.split_counts(["100"]) == {
        "train": 82, "validation": 6, "test": 6, "unseen": 6, "unseen2": 0,
    }  # fmt: skip
    assert corpus.split_counts(["unseen2=9", "100"])["unseen2"] == 9
    with pytest.raises(UsageError, match="give a number, or SPLIT=NUMBER"):
        corpus.split_counts(["dev=9"])
