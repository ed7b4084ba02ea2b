"""The command line as it is used: with pipes, files and bad recordings, in a process of its own where that matters."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import typer

from command_line import call
from mtqnet import __version__
from mtqnet.audio.flags import markdown
from mtqnet.cli import score_run
from mtqnet.cli.terminal import reported_errors
from mtqnet.errors import UsageError
from mtqnet.scoring import batch
from mtqnet.scoring.scores import COLUMNS
from mtqnet.targets import KEYS

ROOT = Path(__file__).resolve().parents[1]
Done = subprocess.CompletedProcess[str]


def mtqnet(*arguments: str | Path, terminal: bool = False) -> Done:
    """Within this process; `process` is slower."""
    return call(*arguments, terminal=terminal, COLUMNS="100")


def process(*arguments: str | Path, **environment: str) -> Done:
    """In a process of its own, with pipes and the terminal's encoding."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "mtqnet", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1"} | environment,
        timeout=120,
    )


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_version() -> None:
    assert process("--version").stdout == f"mtqnet {__version__}\n"


@pytest.mark.parametrize("arguments", [("--help",), ("score", "--help"), ("corpus", "--help")])
def test_help_helps(arguments: tuple[str, ...]) -> None:
    done = mtqnet(*arguments)
    assert done.returncode == 0
    assert "Usage: mtqnet" in done.stdout
    assert "[/" not in done.stdout  # markup is shown, not printed


def test_help_of_score_names_formats_and_exit_codes() -> None:
    text = mtqnet("score", "--help").stdout
    for word in (
        ".csv",
        ".jsonl",
        ".parquet",
        "Exit codes",
        "Examples",
        "--model",
        "--quiet",
        "--jobs",
    ):
        assert word in text


def test_the_page_of_flags_is_the_table() -> None:
    assert markdown() in (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")


def test_pipe_gets_csv_and_nothing_else(toy_model: Path, good_file: Path) -> None:
    done = process("score", good_file, "--model", toy_model)
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = rows(done.stdout)
    assert tuple(row) == COLUMNS
    assert row["file"] == str(good_file)
    assert 1 <= float(row["s_mos"]) <= 5
    assert row["error"] == ""


def test_two_runs_give_the_same_bytes(toy_model: Path, good_file: Path) -> None:
    first, second = (mtqnet("score", good_file, "-m", toy_model, "--jobs", jobs) for jobs in "12")
    assert first.stdout == second.stdout


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_output_is_a_file_and_one_line(toy_model: Path, good_file: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"scores{suffix}"
    done = mtqnet("score", good_file, "--model", toy_model, "--output", output)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"scored 1 of 1 recording -> {output}\n"
    assert output.stat().st_size > 0
    assert mtqnet("score", good_file, "-m", toy_model, "-o", output, "--quiet").stderr == ""


def test_windows_are_rows_with_a_start_and_an_end(toy_model: Path, good_file: Path) -> None:
    (row,) = rows(mtqnet("score", good_file, "--windows", "-m", toy_model).stdout)
    (whole,) = rows(mtqnet("score", good_file, "-m", toy_model).stdout)
    assert (row["start_s"], row["end_s"]) == ("0.0", "3.0")
    assert {name: row[name] for name in whole} == whole
    assert "0:00.0 to 0:03.0" in mtqnet("score", good_file, "--windows", "-m", toy_model, terminal=True).stdout


@pytest.fixture
def folder(good_file: Path, bad_files: dict[str, Path], tmp_path: Path) -> Path:
    made = tmp_path / "calls"
    made.mkdir()
    for number in range(6):
        shutil.copy(good_file, made / f"{number}.wav")
    shutil.copy(bad_files["silent"], made / "3_silent.wav")
    return made


def test_one_and_two_jobs_give_the_same_bytes(toy_model: Path, folder: Path) -> None:
    first, second = (mtqnet("score", folder, "-m", toy_model, "--jobs", jobs) for jobs in "12")
    assert first.stdout == second.stdout
    assert (first.returncode, second.returncode) == (1, 1)
    assert len(rows(first.stdout)) == 7


def test_a_folder_is_shared_among_cores_when_it_is_worth_it() -> None:
    def processes(recordings: int, **options: int) -> int:
        return score_run._processes(score_run.ScoreOptions(**options), recordings)  # type: ignore[arg-type]

    assert processes(1) <= 1 and processes(batch.FILES_PER_PROCESS - 1) <= 1
    assert processes(1_000_000) == batch.cores()
    assert processes(1_000_000, jobs=3) == 3
    assert processes(2, jobs=3) == 2


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_resume_completes_what_an_earlier_run_began(
    toy_model: Path, folder: Path, tmp_path: Path, suffix: str
) -> None:
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"scores{suffix}"
    mtqnet("score", folder, "-m", toy_model, "-o", whole)
    mtqnet("score", folder / "1.wav", folder / "4.wav", "-m", toy_model, "-o", output)
    done = mtqnet("score", folder, "-m", toy_model, "-o", output, "--resume")
    assert done.stderr == f"scored 6 of 7 recordings (2 before) -> {output}; 1 not: see the column `error`\n"
    assert output.read_bytes() == whole.read_bytes()


def piped(data: bytes, *arguments: str | Path) -> Done:
    command = [sys.executable, "-W", "error", "-m", "mtqnet", "score", *map(str, arguments)]
    done = subprocess.run(command, input=data, capture_output=True, timeout=120)
    return Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_raw_samples_on_standard_input_get_a_row_each_second(toy_model: Path, good_file: Path) -> None:
    samples, rate = sf.read(good_file, dtype="int16")
    data = np.stack([samples, samples], axis=1).astype("<i2").tobytes()
    arguments = ("--rate", str(rate), "--channels", "2", "-m", toy_model)
    done = piped(data, "-", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    found = rows(done.stdout)
    assert [(row["file"], row["start_s"], row["end_s"]) for row in found] == [
        ("-", "0.0", "1.0"), ("-", "0.0", "2.0"), ("-", "0.0", "3.0"),
    ]  # fmt: skip
    (whole,) = rows(mtqnet("score", good_file, "-m", toy_model).stdout)
    assert {key: found[-1][key] for key in KEYS} == {key: whole[key] for key in KEYS}


def test_standard_input_that_cannot_be_meant(toy_model: Path, good_file: Path) -> None:
    second = bytes(32_000)
    for arguments, code in (
        (("-",), 2),
        (("-", good_file, "--rate", "16000"), 2),
        (("-", "--rate", "16000", "--resume"), 2),
        (("-", "--rate", "16000"), 1),
    ):
        done = piped(second, *arguments, "-m", toy_model)
        assert done.returncode == code, arguments
        assert "Traceback" not in done.stderr
    for rate in ((), ("--rate", "16000")):
        done = piped(b"", "-", *rate, "-m", toy_model)
        assert done.returncode == 1
        assert "standard input is empty (0 bytes)" in done.stderr


def test_a_missing_file_is_a_row_and_a_summary(toy_model: Path, tmp_path: Path) -> None:
    done = mtqnet("score", tmp_path / "gone.wav", "-m", toy_model)
    assert (done.returncode, "see the column `error`" in done.stderr) == (1, True)
    shown = mtqnet("score", tmp_path / "gone.wav", "-m", toy_model, terminal=True)
    assert (shown.returncode, shown.stderr) == (1, "")
    assert "no such file" in done.stdout and "not scored" in shown.stdout


def test_a_table_that_is_replaced_is_mentioned(toy_model: Path, good_file: Path, tmp_path: Path) -> None:
    arguments = ("score", good_file, "-m", toy_model, "-o", tmp_path / "t.csv")
    assert "earlier" not in mtqnet(*arguments).stderr
    assert mtqnet(*arguments).stderr.endswith("t.csv (the earlier table was replaced)\n")
    assert "earlier" not in mtqnet(*arguments, "--resume").stderr


def test_a_url_needs_the_cluster(toy_model: Path) -> None:
    done = mtqnet("score", "s3://bucket/calls", "-m", toy_model)
    assert done.returncode == 2 and "add --engine ray" in done.stderr


def test_a_rate_for_a_file_is_refused(toy_model: Path, good_file: Path) -> None:
    done = mtqnet("score", good_file, "--rate", "16000", "-m", toy_model)
    assert done.returncode == 2
    assert "--rate applies to raw samples on standard input" in done.stderr


def test_an_audio_file_on_standard_input_is_decoded(toy_model: Path, good_file: Path, tmp_path: Path) -> None:
    (whole,) = rows(mtqnet("score", good_file, "-m", toy_model).stdout)
    samples, rate = sf.read(good_file)
    for suffix in (".wav", ".flac", ".ogg", ".mp3"):
        sf.write(tmp_path / f"a{suffix}", samples, rate)
        done = piped((tmp_path / f"a{suffix}").read_bytes(), "-", "-m", toy_model)
        assert (done.returncode, done.stderr) == (0, "")
        (row,) = rows(done.stdout)
        assert row["file"] == "-"
        assert float(row["g_mos"]) == pytest.approx(float(whole["g_mos"]), abs=0.3)
    (row,) = rows(piped(good_file.read_bytes(), "-", "-m", toy_model, "--rate", "8000").stdout)
    assert row["g_mos"] == whole["g_mos"]  # the file has its own rate


def test_each_channel_is_a_row(toy_model: Path, good_file: Path, tmp_path: Path) -> None:
    samples, rate = sf.read(good_file)
    sf.write(tmp_path / "call.wav", np.stack([samples, 0.1 * samples], axis=1), rate)
    output = tmp_path / "t.csv"
    arguments = ("score", tmp_path / "call.wav", good_file, "-m", toy_model, "-o", output, "--channels")
    mtqnet(*arguments, "each")
    table = rows(output.read_text())
    assert [row["channel"] for row in table] == ["1", "2", "1"]
    assert table[0]["g_mos"] != table[1]["g_mos"]
    complete = output.read_bytes()
    output.write_bytes(complete[: complete.rindex(b"call.wav")])  # as after a kill between the channels
    mtqnet(*arguments, "each", "--resume")
    assert output.read_bytes() == complete
    done = mtqnet(*arguments[:-3], "--channels", "2")
    assert done.returncode == 1, done.stderr
    (second, refused) = rows(done.stdout)
    assert second["g_mos"] == table[1]["g_mos"] and "channel" in refused["error"]
    assert mtqnet(*arguments, "left").returncode == 2


def test_paths_and_outputs_that_are_mistakes(toy_model: Path, good_file: Path, tmp_path: Path) -> None:
    done = mtqnet("score", "", "-m", toy_model)
    assert done.returncode == 2 and "empty" in done.stderr
    recording = tmp_path / "call.csv"
    shutil.copy(good_file, recording)
    done = mtqnet("score", recording, "-m", toy_model, "-o", recording)
    assert done.returncode == 2 and "overwritten" in done.stderr
    assert recording.read_bytes() == good_file.read_bytes()


def test_the_cluster_has_no_choice_of_channels(folder: Path, tmp_path: Path) -> None:
    done = mtqnet("score", folder, "--engine", "ray", "-o", tmp_path / "out", "--channels", "each")
    assert done.returncode == 2 and "--channels" in done.stderr


def test_sorted_from_worst_to_best(toy_model: Path, folder: Path, tmp_path: Path) -> None:
    samples, rate = sf.read(folder / "0.wav")
    sf.write(folder / "9.wav", 0.1 * samples, rate)
    table = rows(mtqnet("score", folder, "-m", toy_model, "--sort", "g_mos").stdout)
    assert Path(table[0]["file"]).name == "9.wav" and table[-1]["error"]
    assert mtqnet("score", folder, "-m", toy_model, "--sort", "x").returncode == 2
    assert mtqnet("score", folder, "-m", toy_model, "--sort", "g_mos", "-o", tmp_path / "t.csv").returncode == 2


def test_names_with_control_characters_do_not_reach_the_terminal(folder: Path, toy_model: Path) -> None:
    (folder / "é\x1b[31m.wav").write_bytes((folder / "0.wav").read_bytes())
    done = mtqnet("score", folder, "-m", toy_model, terminal=True)
    assert done.returncode == 1
    assert "mean of 7" in done.stdout and "\x1b[31m" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_states_how_to_continue_and_leaves_no_temporary_file(
    toy_model: Path, folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "t.parquet"
    command = [sys.executable, "-m", "mtqnet", "score", str(folder), "-m", str(toy_model), "-o", str(output)]
    for place in range(300):
        shutil.copy(folder / "0.wav", folder / f"x{place:03}.wav")

    def obey_interrupts() -> None:  # background jobs of a shell ignore them
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=obey_interrupts) as process:
        part = tmp_path / ".t.parquet.part.jsonl"
        while not (part.exists() and part.stat().st_size):
            time.sleep(0.01)
        process.send_signal(number)
        assert process.stderr is not None
        message = process.stderr.read()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "continue with --resume" in message and message.count("\n") == 1
    assert "Traceback" not in message
    left = {path.name for path in tmp_path.iterdir()} - {"calls"}
    assert left == {".t.parquet.part.jsonl", ".t.parquet.sources.jsonl"}
    assert len(part.read_text().splitlines()) < 307


def test_resume_needs_a_table(toy_model: Path, good_file: Path) -> None:
    done = mtqnet("score", good_file, "-m", toy_model, "--resume")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--output" in done.stderr


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "header", "short", "silent", "constant", "nan"])
def test_a_recording_that_is_not_scored_is_a_row_with_its_reason(
    toy_model: Path, bad_files: dict[str, Path], kind: str
) -> None:
    done = mtqnet("score", bad_files[kind], "--model", toy_model)
    assert done.returncode == 1
    (row,) = rows(done.stdout)
    assert row["error"]
    assert row["s_mos"] == ""
    assert "Traceback" not in done.stderr


def test_good_file_among_bad_ones_is_scored(
    toy_model: Path, bad_files: dict[str, Path], good_file: Path, tmp_path: Path
) -> None:
    done = mtqnet("score", *bad_files.values(), tmp_path, good_file, "--model", toy_model)
    assert done.returncode == 1
    found = {Path(row["file"]).name: row for row in rows(done.stdout)}
    assert len(found) == len(bad_files) + 2
    errors = {row["error"] for row in found.values() if row["error"]}
    # Each of the two empty kinds and of the two silent kinds has its own reason, silence with its level.
    assert len(errors) >= len(bad_files)
    assert found["good.wav"]["error"] == ""
    assert float(found["good.wav"]["s_mos"]) > 1
    assert "Traceback" not in done.stderr
    assert f"scored 1 of {len(found)} recordings" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("score", "{empty_folder}"), 2, "no recordings in"),
        (("score", "{good}", "--model", "nonesuch"), 2, "no model named 'nonesuch'"),
        (("score", "{good}", "--model", "gone.onnx"), 2, "no such model file"),
        (("score", "{good}", "--output", "scores.xlsx"), 2, ".parquet"),
        (("score", "{good}", "--output", "gone/scores.csv"), 2, "does not exist"),
    ],
)
def test_other_errors_are_one_line_and_an_exit_code(
    good_file: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = mtqnet(*(argument.format(good=good_file, empty_folder=tmp_path) for argument in arguments))
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_options_are_wrong_use(good_file: Path) -> None:
    assert mtqnet("score").returncode == 2
    assert mtqnet("score", good_file, "--jobs", "-1").returncode == 2
    assert mtqnet("scroe").returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals are of Unix")
@pytest.mark.parametrize("columns", ["80", "120"])
def test_terminal_gets_a_table_and_the_reasons(
    toy_model: Path, good_file: Path, bad_files: dict[str, Path], columns: str
) -> None:
    import pty

    leader, follower = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "mtqnet",
        "score",
        good_file.name,
        str(bad_files["silent"]),
        "-m",
        str(toy_model),
    ]
    process = subprocess.Popen(
        command,
        stdout=follower,
        stderr=follower,
        env=os.environ | {"COLUMNS": columns, "TERM": "xterm"},
        cwd=good_file.parent,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    text = shown.decode()
    assert process.wait() == 1
    assert "S-MOS" in text
    assert "good.wav" in text
    assert "not scored" in text
    assert "silent: its loudest" in text
    assert "duration_s" not in text  # no CSV


def test_an_error_keeps_its_exit_code_if_stderr_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(typer.Exit) as raised, reported_errors():
        raise UsageError("wrong")
    assert raised.value.exit_code == 2
