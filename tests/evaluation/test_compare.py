"""Comparing sets: the right recordings are paired, the right one is called better, chance is called chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from mtqnet.errors import UsageError
from mtqnet.evaluation import plots, recordings
from mtqnet.evaluation.compare import Compared, compare, pair, probability, verdict
from mtqnet.evaluation.recordings import Recordings

Write = Callable[[Path, Any], Path]


@pytest.fixture
def made(tmp_path: Path, write: Write) -> Callable[..., Recordings]:
    """A table of scores with these numbers, and recordings named 0.wav, 1.wav, ..."""

    def make(name: str, suffix: str = ".wav", **columns: Sequence[object]) -> Recordings:
        count = len(next(iter(columns.values())))
        rows = [
            {"file": f"{name}/{n}{suffix}"} | {key: column[n] for key, column in columns.items()}
            for n in range(count)
        ]
        return recordings.read(write(tmp_path / f"{name}.csv", rows))

    return make


def only(compared: Compared, target: str, group: str = "") -> Any:
    (found,) = (one for one in compared.comparisons if one.target == target and one.group == group)
    return found


def test_noise_is_found_in_real_recordings(run: Callable[..., Any], examples: Path, tmp_path: Path) -> None:
    """The shipped model, the example recordings, and the same with white noise 15 dB below them."""
    noisy, picture = tmp_path / "noisy", tmp_path / "difference.svg"
    noisy.mkdir()
    rng = np.random.default_rng(1)
    for file in sorted(examples.iterdir()):
        samples, rate = sf.read(file)
        noise = rng.standard_normal(len(samples)) * np.sqrt(np.mean(samples**2)) * 10 ** (-15 / 20)
        sf.write(noisy / f"{file.stem}.wav", np.clip(samples + noise, -1, 1), rate)
    (noisy / "letter.wav").write_text("Dear sir")
    done = run("compare", examples, noisy, "--picture", picture)
    assert done.returncode == 1, done.stderr  # one recording has no score
    assert "{" not in done.stdout  # words, and no JSON
    assert "noisy is worse than recordings on" in done.stdout
    assert "N-MOS by " in done.stdout.split("noisy is worse")[1]
    assert "1 of 15 recordings have no score:" in done.stderr
    assert "letter.wav: not an audio file" in done.stderr
    assert picture.read_text().startswith("<?xml")
    again = run("compare", examples, noisy, "--json")
    told = json.loads(again.stdout)
    n_mos = next(one for one in told["comparisons"] if one["target"] == "n_mos")
    assert (n_mos["items"], n_mos["found"], n_mos["better"]) == (7, True, "recordings")
    assert n_mos["low"] <= n_mos["difference"] <= n_mos["high"] < 0


def test_the_picture_has_one_axis_for_all_scores_on_a_mos_scale(
    made: Callable[..., Recordings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "save", lambda figure, _: drawn.append(figure))
    rng = np.random.default_rng(2)
    noisy = {"s_mos": [3.0] * 8, "n_mos": [2.0] * 8, "stoi_est": [0.5] * 8, "sdi_est": [1.0] * 8}
    a = made("a", **noisy)
    b = made(
        "b",
        **{key: np.array(values) + rng.uniform(0.02, 0.04, 8) + (key == "n_mos") for key, values in noisy.items()},
    )
    plots.draw_comparison(compare([a, b], True, "", None), tmp_path / "p.png")
    ends = {axes.get_title(): axes.get_xlim()[1] for axes in drawn[0].axes}
    assert ends == pytest.approx(
        {"S-MOS": 1.5, "N-MOS": 1.5, "STOI (estimate)": 1.5 / 4, "SDI (estimate)": 1.5 * 5 / 4}
    )


def test_verdict_states_what_is_better_worse_and_the_same(made: Callable[..., Recordings]) -> None:
    steps = np.linspace(2, 4, 20)
    wobble = 0.3 * np.cos(np.arange(20) * np.pi)  # +0.3, -0.3, ...: no difference on the whole
    first = made("a", s_mos=steps, n_mos=steps, g_mos=steps, sdi_est=np.full(20, 0.2))
    second = made("b", s_mos=steps + wobble, n_mos=steps + 0.5, g_mos=steps - 0.25, sdi_est=np.full(20, 0.1))
    compared = compare([first, second], True, "", None)
    assert verdict(compared) == [
        "b is better than a on N-MOS by 0.50 [0.50, 0.50] and SDI by a factor of 2.0 [2.0, 2.0]; "
        "b is worse than a on G-MOS by 0.25 [0.25, 0.25]; no difference was found on S-MOS."
    ]
    assert only(compared, "sdi_est").second_is_better


def test_turned_round_the_verdict_turns_round(made: Callable[..., Recordings]) -> None:
    a, b = made("a", g_mos=np.linspace(2, 3, 9)), made("b", g_mos=np.linspace(2.2, 3.5, 9))
    (there,), (back,) = (verdict(compare(sets, True, "", None)) for sets in ([a, b], [b, a]))
    assert there.replace("b is better than a", "a is worse than b") == back


def test_five_pairs_are_too_few(made: Callable[..., Recordings]) -> None:
    compared = compare([made("a", g_mos=[2] * 5), made("b", g_mos=[4] * 5)], True, "", None)
    assert verdict(compared) == ["5 recordings are too few to detect a difference between a and b."]


def test_probability_follows_difference_and_error_of_the_model(made: Callable[..., Recordings]) -> None:
    steps = np.linspace(2, 3, 30)
    sets = [
        made("a", g_mos=steps, sdi_est=np.full(30, 0.1)),
        made("b", g_mos=steps + 0.4, sdi_est=np.full(30, 1.0)),
    ]
    compared = compare(sets, True, "", None)
    assert [one.probability for one in compared.comparisons] == [None, None]  # toy scores: no model is named
    g, sdi = only(compared, "g_mos"), only(compared, "sdi_est")
    found = probability(g, 0.4), probability(g, 4.0), probability(sdi, 1.0)
    assert found == pytest.approx((0.841, 0.540, 0.159), abs=2e-3)


def test_probability_is_that_of_the_model_of_the_scores(
    examples: Path, run: Callable[..., Any], tmp_path: Path
) -> None:
    for name in ("1_clean", "2_office_noise"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "call.flac").write_bytes((examples / f"{name}.flac").read_bytes())
    told = json.loads(run("compare", tmp_path / "1_clean", tmp_path / "2_office_noise", "--json").stdout)
    n_mos = next(one for one in told["comparisons"] if one["target"] == "n_mos")
    assert n_mos["difference"] < -0.5 and n_mos["probability_second_better"] < 0.1


def test_small_groups_share_a_sentence_and_are_in_order(made: Callable[..., Recordings]) -> None:
    room = [f"c{n // 3}" for n in range(33)]
    sets = [made(name, g_mos=np.linspace(low, low + 1, 33), room=room) for name, low in (("a", 2), ("b", 3))]
    whole, small = verdict(compare(sets, True, "room", None))
    assert whole == "b is better than a on G-MOS by 1.00 [1.00, 1.00]."
    groups = "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and c10"
    assert small == f"{groups}: too few recordings to detect a difference between a and b."


def test_three_sets_are_compared_two_by_two(made: Callable[..., Recordings]) -> None:
    sets = [made(name, g_mos=np.linspace(low, low + 1, 8)) for name, low in (("a", 1), ("b", 2), ("c", 3))]
    found = compare(sets, True, "", None).comparisons
    assert [(one.first, one.second) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [one.difference.value for one in found] == pytest.approx([1, 2, 1])


def test_within_groups_pairs_stay_pairs(made: Callable[..., Recordings], tmp_path: Path, write: Write) -> None:
    """One room is better, the other worse; for all recordings there is no difference."""
    base, rooms = np.linspace(2, 4, 20), ["hall", "car"] * 10
    change = np.where(np.array(rooms) == "hall", 0.4, -0.4)
    first, second = made("a", g_mos=base, room=rooms), made("b", g_mos=base + change, room=rooms)
    compared = compare([first, second], True, "room", None)
    assert not only(compared, "g_mos").difference.found
    assert only(compared, "g_mos", "hall").difference.value == pytest.approx(0.4)
    assert only(compared, "g_mos", "car").difference.value == pytest.approx(-0.4)
    table = write(tmp_path / "rooms.csv", [{"file": f"{n}.flac", "place": room} for n, room in enumerate(rooms)])
    by_table = compare([first, second], True, "place", table)
    assert only(by_table, "g_mos", "car").difference == only(compared, "g_mos", "car").difference
    apart = compare([first, second], False, "place", table)
    assert only(apart, "g_mos", "hall").difference.items == 20


def test_recordings_without_partner_are_named(made: Callable[..., Recordings]) -> None:
    compared = compare([made("a", g_mos=[2] * 8), made("b", ".flac", g_mos=[3] * 7)], True, "", None)
    assert compared.alone == ("a/7.wav",)
    assert only(compared, "g_mos").difference.items == 7


def test_same_files_by_two_models_are_pairs(tmp_path: Path, write: Write) -> None:
    tables = [
        recordings.read(
            write(tmp_path / f"{n}.csv", [{"file": f"x/{m}/s.wav", "g_mos": 1 + n + m} for m in range(3)])
        )
        for n in range(2)
    ]
    assert [(a.file, b.file) for a, b in pair(tables[0], tables[1])] == [(f"x/{m}/s.wav",) * 2 for m in range(3)]


def test_other_folders_are_bridged_by_name(tmp_path: Path, write: Write) -> None:
    files = (["in/1/a.wav", "in/2/b.wav"], ["out/x/b.flac", "out/y/a.flac"])
    first, second = (
        recordings.read(write(tmp_path / f"{n}.csv", [{"file": f, "g_mos": 3} for f in names]))
        for n, names in enumerate(files)
    )
    assert {(a.file, b.file) for a, b in pair(first, second)} == {
        ("in/1/a.wav", "out/y/a.flac"),
        ("in/2/b.wav", "out/x/b.flac"),
    }


def test_what_cannot_be_compared_is_reported(
    made: Callable[..., Recordings], tmp_path: Path, write: Write
) -> None:
    a, b = made("a", g_mos=[2.0, 3.0]), made("b", s_mos=[2.0, 3.0])
    with pytest.raises(UsageError, match="two or more"):
        compare([a], True, "", None)
    with pytest.raises(UsageError, match="no score in common"):
        compare([a, b], True, "", None)
    other = recordings.read(write(tmp_path / "c.csv", [{"file": "z.wav", "g_mos": 3}]))
    with pytest.raises(UsageError, match="--unpaired"):
        compare([a, other], True, "", None)
    with pytest.raises(UsageError, match=r"no column 'room' \(it contains scores only\)"):
        compare([a, a.__class__("d", a.root, a.rows)], True, "room", None)
