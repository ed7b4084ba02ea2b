"""`mtqnet label`: files of different rates and delays, and the result without the unprocessed signal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.corpus.degradations.noise import ColouredNoise
from mtqnet.corpus.degradations.step import start
from mtqnet.corpus.degradations.suppressors import SpectralGain
from mtqnet.errors import LabelError, MissingFileError
from mtqnet.labels.three_signal import label, label_files

Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, talker: Callable[..., Samples]) -> dict[str, Path]:
    """clean, unprocessed (15 dB) and processed at 16 kHz; late: processed at 48 kHz, 40 ms late, softer."""
    folder = tmp_path_factory.mktemp("set")
    before = ColouredNoise(3.0, 15.0, 1)(start(talker(4.0)))
    after = SpectralGain(1.5, -20.0, 1.0)(before).mixture
    late = resample(np.float32(0.4) * np.pad(after, (640, 0)), SAMPLE_RATE, 48_000)
    sounds = {"clean": before.clean, "unprocessed": before.mixture, "processed": after}
    paths = {name: folder / f"{name}.wav" for name in (*sounds, "late")}
    for name, sound in sounds.items():
        sf.write(paths[name], sound, SAMPLE_RATE, "FLOAT")
    sf.write(paths["late"], late, 48_000, "FLOAT")
    return paths


def test_labels_of_files_are_those_of_the_tracks(files: dict[str, Path], talker: Callable[..., Samples]) -> None:
    found = label_files(files["clean"], files["unprocessed"], files["processed"])
    tracks = SpectralGain(1.5, -20.0, 1.0)(ColouredNoise(3.0, 15.0, 1)(start(talker(4.0))))
    exact = label(tracks.clean, tracks.speech, tracks.noise)
    assert found.quest.s_mos == pytest.approx(exact.s_mos, abs=0.3)
    assert found.quest.n_mos == pytest.approx(exact.n_mos, abs=0.15)
    assert not found.cautions


def test_rate_delay_and_level_of_a_file_change_little(files: dict[str, Path]) -> None:
    one, two = (label_files(files["clean"], files["unprocessed"], files[name]) for name in ("processed", "late"))
    assert two.quest.s_mos == pytest.approx(one.quest.s_mos, abs=0.15)
    assert two.quest.n_mos == pytest.approx(one.quest.n_mos, abs=0.15)
    assert two.objective.pesq == pytest.approx(one.objective.pesq, abs=0.1)


def test_noise_reduction_raises_n_and_lowers_s(files: dict[str, Path]) -> None:
    before = label_files(files["clean"], files["unprocessed"], files["unprocessed"]).quest
    after = label_files(files["clean"], files["unprocessed"], files["processed"]).quest
    assert after.n_mos > before.n_mos + 0.3
    assert after.s_mos < before.s_mos - 0.3


def test_without_unprocessed_it_states_what_it_cannot_tell(files: dict[str, Path]) -> None:
    found = label_files(files["clean"], None, files["unprocessed"])
    assert len(found.cautions) == 2
    assert "without --unprocessed" in found.cautions[0] and "dB louder" in found.cautions[1]


def test_missing_file_and_silence_are_reported(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.wav: no such file"):
        label_files(files["clean"], None, tmp_path / "gone.wav")
    sf.write(tmp_path / "silent.wav", np.zeros(64_000), SAMPLE_RATE)
    with pytest.raises(LabelError):
        label_files(files["clean"], None, tmp_path / "silent.wav")


def test_command_prints_a_table_or_json(files: dict[str, Path]) -> None:
    command: list[str | Path] = [sys.executable, "-m", "mtqnet", "label", "-c", files["clean"]]
    command += ["-p", files["processed"]]
    told = subprocess.run(
        [*command, "-u", files["unprocessed"]], capture_output=True, text=True, timeout=120, check=True
    )
    assert "S-MOS" in told.stdout and "Csig" in told.stdout and "they are not 3QUEST scores" in told.stdout
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120, check=True)
    record = json.loads(done.stdout)
    assert 1 <= record["s_mos"] <= 5 and record["cautions"]
    assert {"n_mos", "g_mos", "equivalent_q_db", "equivalent_snr_db", "pesq", "stoi", "sdi", "covl"} <= set(record)


def test_a_record_has_all_numbers_with_four_decimals_and_the_cautions(files: dict[str, Path]) -> None:
    found = label_files(files["clean"], files["unprocessed"], files["processed"])
    record = found.record()
    expected = {
        **{name: getattr(found.quest, name) for name in ("s_mos", "n_mos", "g_mos")},
        "equivalent_q_db": found.quest.equivalent_q_db,
        "equivalent_snr_db": found.quest.equivalent_snr_db,
        **{name: getattr(found.objective, name) for name in ("pesq", "stoi", "sdi")},
        **{name: getattr(found.composite, name) for name in ("csig", "cbak", "covl")},
    }
    assert record.pop("cautions") == list(found.cautions)
    assert record == {name: round(float(value), 4) for name, value in expected.items()}
    assert any(round(float(value), 3) != record[name] for name, value in expected.items())


def test_a_truncated_file_is_a_caution(files: dict[str, Path], tmp_path: Path) -> None:
    """Half of a processed recording has the labels of a complete one."""
    half = tmp_path / "half.wav"
    data = files["processed"].read_bytes()
    half.write_bytes(data[: len(data) * 2 // 3])
    assert any("incomplete" in one for one in label_files(files["clean"], files["unprocessed"], half).cautions)
