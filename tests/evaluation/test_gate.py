"""The gate fails and passes as defined, and its reports can be read by other programs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from mtqnet.errors import GateError, UsageError
from mtqnet.evaluation import gate, recordings
from mtqnet.evaluation.gate import Outcome
from mtqnet.evaluation.recordings import Recordings
from mtqnet.targets import G_MOS, SDI

Write = Callable[[Path, Any], Path]
Run = Callable[..., Any]


@pytest.fixture
def scored(tmp_path: Path, write: Write) -> Recordings:
    """G-MOS 2.0, 2.5, 3.0, 3.5; SDI 0.1, 0.1, 0.1, 10: geometric mean 0.316."""
    rows = [
        {"file": f"{n}.wav", "g_mos": 2 + n / 2, "sdi_est": 10 if n == 3 else 0.1, "error": ""} for n in range(4)
    ]
    return recordings.read(write(tmp_path / "scores.csv", rows))


def held(found: Recordings, baseline: Recordings | None = None, /, **limits: str) -> Outcome:
    options = {kind.replace("_", "-"): [text] for kind, text in limits.items()}
    against = Path("baseline") if baseline else None
    return gate.check(found, gate.rules(None, options, against), baseline)


@pytest.mark.parametrize(
    ("limits", "failed"),
    [
        ({"min": "g_mos=2.75"}, 0),  # met exactly
        ({"min": "g_mos=2.76"}, 1),
        ({"min": "g_mos.worst=2"}, 0),
        ({"min": "g_mos.worst=2.01"}, 1),
        ({"min": "g_mos.p50=2.75"}, 0),
        ({"min": "g_mos.p0=2.01"}, 1),
        ({"max": "sdi_est=0.3163"}, 0),
        ({"max": "sdi_est=0.3162"}, 1),
        ({"max": "sdi_est.worst=9.9"}, 1),
    ],
)
def test_limits_hold_up_to_their_value(scored: Recordings, limits: dict[str, str], failed: int) -> None:
    assert held(scored, None, **limits).failed == failed


def test_worst_of_a_score_that_should_be_low_is_the_highest() -> None:
    values = np.array([1.0, 2.0, 4.0])
    assert gate.statistic_of(G_MOS, values, "worst") == 1.0
    assert gate.statistic_of(SDI, np.log10(values), "worst") == pytest.approx(4.0)
    assert gate.statistic_of(SDI, np.log10(values), "mean") == pytest.approx(2.0)


def test_recordings_beyond_a_limit_are_named_worst_first(scored: Recordings) -> None:
    (check,) = held(scored, min="g_mos=3").checks
    assert check.beyond == ("0.wav", "1.wav")
    (check,) = held(scored, max="sdi_est=0.2").checks
    assert check.beyond == ("3.wav",)


def test_a_drop_counts_only_what_both_have(scored: Recordings, tmp_path: Path, write: Write) -> None:
    """The baseline lacks the best recording and is 0.2 better on the others; a rise of SDI is a drop."""
    rows = [{"file": f"{n}.flac", "g_mos": 2.2 + n / 2, "sdi_est": 0.05} for n in range(3)]
    baseline = recordings.read(write(tmp_path / "baseline.csv", rows))
    assert held(scored, baseline, max_drop="g_mos=0.2").failed == 0
    (check,) = held(scored, baseline, max_drop="g_mos=0.19").checks
    assert not check.passed
    assert check.measured == pytest.approx(0.2)
    assert check.found == "2.50, was 2.70 (3 recordings)"
    assert held(scored, baseline, max_drop="sdi_est=0.05").failed == 0
    assert held(scored, baseline, max_drop="sdi_est=0.04").failed == 1
    assert held(baseline, scored, max_drop="g_mos=0").failed == 0  # it became better


def test_a_baseline_that_no_limit_uses_is_refused() -> None:
    with pytest.raises(UsageError, match="--against is the baseline of --max-drop"):
        gate.rules(None, {"min": ["g_mos=3"]}, Path("old"))


def test_a_baseline_of_other_recordings_is_refused_with_advice_for_the_gate(
    scored: Recordings, tmp_path: Path, write: Write
) -> None:
    other = recordings.read(write(tmp_path / "other.csv", [{"file": "z.wav", "g_mos": 3}]))
    with pytest.raises(UsageError, match="omit --max-drop and set absolute limits"):
        held(scored, other, max_drop="g_mos=0.1")


def test_two_tables_are_refused(run: Run, tmp_path: Path, write: Write) -> None:
    rows = [{"file": "a.wav", "g_mos": 4}]
    paths = [write(tmp_path / name, rows) for name in ("one.csv", "two.csv")]
    result = run("gate", *paths, "--min", "g_mos=2")
    assert result.returncode == 2
    assert "one table of scores" in result.stderr


def test_recordings_without_a_score_fail_unless_allowed(tmp_path: Path, write: Write) -> None:
    rows = [{"file": "a.wav", "g_mos": 4}, {"file": "b.wav", "g_mos": ""}]
    found = recordings.read(write(tmp_path / "scores.csv", rows))
    limits = gate.rules(None, {"min": ["g_mos=3"]}, None)
    assert [gate.check(found, replace(limits, unscored=n), None).failed for n in (0, 1)] == [1, 0]
    none = recordings.read(write(tmp_path / "none.csv", [{"file": "b.wav", "g_mos": ""}]))
    assert gate.check(none, replace(limits, unscored=9), None).failed == 1


def test_options_go_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(
        'unscored = 2\nagainst = "old"\n[min]\ng_mos.p10 = 3\nn_mos.worst = 2\n[max-drop]\ng_mos = 0.1'
    )
    read = gate.rules(file, {"min": ["g_mos.p10=2.5", "s_mos.mean=3"]}, None)
    asked = {(limit.kind, limit.target, limit.statistic): limit.value for limit in read.limits}
    assert asked == {
        ("min", "g_mos", "p10"): 2.5,
        ("min", "n_mos", "worst"): 2,
        ("max-drop", "g_mos", "mean"): 0.1,
        ("min", "s_mos", "mean"): 3,
    }
    assert (read.unscored, read.against) == (2, tmp_path / "old")
    assert gate.rules(file, {}, Path("new")).against == Path("new")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[min]\nmos = 3", "no score is called 'mos'"),
        ("[min]\ng_mos = 'good'", r"gate.toml, \[min\]: g_mos has 'good', which is not a number"),
        ("[min]\ng_mos = 7", "G-MOS ranges from 1 to 5"),
        ("[min]\nsdi_est = 0.3", "a lower SDI is better; write --max sdi_est=0.3 instead"),
        ("[max]\ng_mos = 3", "a higher G-MOS is better; write --min g_mos=3 instead"),
        ("[min]\ng_mos.median = 3", "no statistic is called 'median'"),
        ("[mim]\ng_mos = 3", "unknown setting 'mim'"),
        ("min = 3", "a section with limits"),
        ("[max-drop]\ng_mos = 0.1", "name its folder or table of scores with --against"),
        ("against = 'x'\n[max-drop]\ng_mos = -0.1", "write a number of 0 or more"),
        ("unscored = 0", "no limit is given"),
        ("[min]\ng_mos 3", r"gate.toml, line 2: not valid TOML .* such as g_mos = 3.2"),
        ("[min", "not valid TOML"),
    ],
)
def test_rules_that_cannot_be_meant_are_reported(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=says):
        gate.rules(file, {}, None)


def test_command_fails_and_passes_on_real_recordings(run: Run, examples: Path, tmp_path: Path) -> None:
    """The clean recording against all: the shipped model, the exit code, JUnit and JSON."""
    junit = tmp_path / "gate.xml"
    done = run("gate", examples / "1_clean.flac", "--min", "n_mos=2.5", "--max", "sdi_est=1")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run("gate", examples, "--min", "g_mos.worst=4.5", "--max", "sdi_est=5", "--junit", junit, "--json")
    assert done.returncode == GateError.exit_code == 3
    assert done.stderr == "error: the gate failed: 1 of 2 limits not met\n"
    told = json.loads(done.stdout)
    assert (told["passed"], told["recordings"]) == (False, 7)
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    (failure,) = suite.iter("failure")
    assert (failure.text or "").splitlines() == told["checks"][0]["beyond"]
    assert "7_hall_overdriven.flac" in (failure.text or "")


def test_baseline_is_a_folder_too(run: Run, examples: Path, toy_model: Path) -> None:
    arguments = ("gate", examples, "--max-drop", "g_mos=0", "--against", examples, "-m", toy_model)
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert "(7 recordings)" in done.stdout


def test_broken_recording_is_named(
    run: Run, toy_model: Path, good_file: Path, bad_files: dict[str, Path], tmp_path: Path
) -> None:
    arguments = ("gate", good_file, bad_files["silent"], "--min", "g_mos=1", "-m", toy_model)
    done = run(*arguments)
    assert done.returncode == 3
    assert "silent.wav: silent: its loudest" in done.stderr
    assert (
        "the gate failed: 1 without a score, 0 allowed (set `unscored = 1` in the file --rules to allow it)"
        in done.stderr
    )
    rules = tmp_path / "gate.toml"
    rules.write_text("unscored = 1\n")
    assert run(*arguments, "--rules", rules).returncode == 0


def test_example_files_are_what_the_command_takes(tmp_path: Path, write: Write) -> None:
    """Run the line of the workflow on generated scores in a separate folder."""
    folder = Path(__file__).resolve().parents[2] / "examples"
    line = re.search(r"run: (mtqnet gate .*)", (folder / "speech-quality.yml").read_text())
    assert line is not None
    (tmp_path / "gate.toml").write_text((folder / "gate.toml").read_text())
    rows = [{"file": f"out/{n}.wav", "g_mos": 4, "n_mos": 4, "sdi_est": 0.1} for n in range(3)]
    write(tmp_path / "baseline.csv", rows)
    write(tmp_path / "out.csv", rows)
    arguments = shlex.split(line[1].replace("out/", "out.csv"))[1:]
    done = subprocess.run(
        [sys.executable, "-m", "mtqnet", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "gate.xml").exists()
