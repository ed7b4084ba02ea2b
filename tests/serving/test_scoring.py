"""Recordings over HTTP have the scores of the command line, or a reason; their files are deleted afterwards."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray
from running import Server

from mtqnet.audio.flags import REFUSED
from mtqnet.targets import KEYS

PROBLEM = "application/problem+json"
Run = Callable[..., subprocess.CompletedProcess[str]]


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    told: dict[str, object] = answer.json()
    assert told["type"] == f"urn:mtqnet:problem:{kind}"
    assert told["status"] == status
    assert told["detail"]
    return told


def test_scores_are_those_of_the_command_line(client: httpx.Client, examples: Path, run: Run) -> None:
    files = sorted(examples.glob("*.flac"))[:3]
    rows = list(csv.DictReader(io.StringIO(run("score", *files).stdout)))
    for file, row in zip(files, rows, strict=True):
        form = client.post("/v1/score", files={"file": (file.name, file.read_bytes())}).json()
        raw = client.post("/v1/score", content=file.read_bytes(), params={"name": file.name}).json()
        for answer in (form, raw):
            assert answer["file"] == file.name
            assert [answer[key] for key in KEYS] == [float(row[key]) for key in KEYS]
            assert answer["model_sha256"] == row["model_sha256"]
            assert " ".join(answer["flags"]) == row["flags"]


def test_progress_comes_in_lines_before_the_result(
    client: httpx.Client, voice: Callable[..., NDArray[np.float32]], bad_files: dict[str, Path]
) -> None:
    stored = io.BytesIO()
    sf.write(stored, voice(55.0), 16_000, format="WAV")
    asked = {"progress": True, "track": True}
    answer = client.post("/v1/score", content=stored.getvalue(), params=asked)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    *before, last = map(json.loads, answer.text.splitlines())
    assert last["kind"] == "result"
    assert last["result"]["g_mos"] == client.post("/v1/score", content=stored.getvalue()).json()["g_mos"]
    parts = [line["done"] for line in before]
    assert all(line["kind"] == "progress" for line in before)
    assert parts == sorted(parts)
    assert all(0 <= part <= 1 for part in parts)
    problem(client.post("/v1/score", content=bad_files["silent"].read_bytes(), params=asked), 422, "silent")


def test_a_client_that_disconnects_ends_its_job(
    serving: Server, voice: Callable[..., NDArray[np.float32]]
) -> None:
    stored = io.BytesIO()
    sf.write(stored, voice(59.0), 16_000, format="WAV", subtype="PCM_16")
    asked: dict[str, Any] = {"progress": True, "track": True, "name": "cancelled.wav"}
    with serving.client() as client:
        with client.stream("POST", "/v1/score", content=stored.getvalue(), params=asked) as answer:
            assert json.loads(next(answer.iter_lines()))["kind"] == "progress"
        for _ in range(100):
            if client.get("/readyz").json()["jobs"] == 0:
                break
            time.sleep(0.1)
        assert client.get("/readyz").json()["jobs"] == 0
        assert client.get("/v1/history", params={"file": "cancelled.wav"}).json()["rows"] == []
        assert serving.temporary() == []


def test_windows_and_track_come_when_asked(
    client: httpx.Client, voice: Callable[..., NDArray[np.float32]]
) -> None:
    stored = io.BytesIO()
    sf.write(stored, np.concatenate([voice(12.0), voice(10.0, level_db=-40)]), 16_000, format="WAV")
    bare = client.post("/v1/score", content=stored.getvalue()).json()
    assert bare["windows"] == []
    assert bare["track"] is None
    answer = client.post("/v1/score", content=stored.getvalue(), params={"windows": 1, "track": 1}).json()
    assert len(answer["windows"]) == 3
    mean = sum(window["weight"] * window["g_mos"] for window in answer["windows"])
    assert mean == pytest.approx(answer["g_mos"], abs=1e-3)
    times, line = answer["track"]["times_s"], answer["track"]["values"]["g_mos"]
    assert len(times) == len(line) <= 2000
    assert 0 < times[0] < times[-1] < 22.05
    assert answer["worst"] is None or 0 <= answer["worst"]["start_s"] < answer["worst"]["end_s"] < 22.05


@pytest.mark.parametrize("kind", ["empty", "header", "short", "silent", "constant", "nan", "text"])
def test_what_cannot_be_scored_gets_its_reason(
    kind: str, serving: Server, client: httpx.Client, bad_files: dict[str, Path], good_file: Path
) -> None:
    for path in ("/v1/score", "/v1/picture"):
        told = client.post(path, content=bad_files[kind].read_bytes())
        flag = told.json()["flags"][0]
        assert flag in {one.key for one in REFUSED}
        problem(told, 422, flag)
    compared = client.post("/v1/compare", files={
        "a": ("a.wav", bad_files[kind].read_bytes()), "b": ("b.wav", good_file.read_bytes()),
    })  # fmt: skip
    assert compared.status_code == 200
    assert compared.json()["a"][0]["error"]
    assert compared.json()["comparisons"] == []
    assert client.post("/v1/score", content=good_file.read_bytes()).status_code == 200
    assert serving.temporary() == []


def test_a_small_file_of_a_long_silence_is_refused_by_its_header(client: httpx.Client) -> None:
    stored = io.BytesIO()
    with sf.SoundFile(stored, "w", 8_000, 1, format="FLAC") as file:
        for _ in range(24):
            file.write(np.zeros(3600 * 8_000, dtype=np.int16))
    assert len(stored.getvalue()) < 3_000_000, "else it is the body that is too large"
    started = time.process_time()
    for path in ("/v1/score", "/v1/picture", "/v1/playable"):
        problem(client.post(path, content=stored.getvalue()), 413, "too_long")
    assert time.process_time() - started < 5


def test_a_body_that_is_too_large_is_refused_with_and_without_its_length(client: httpx.Client) -> None:
    large = b"\0" * 3_100_000
    problem(client.post("/v1/score", content=large), 413, "too_large")
    pieces = (large[at : at + 50_000] for at in range(0, len(large), 50_000))
    problem(client.post("/v1/score", content=pieces), 413, "too_large")


def test_forms_that_contain_no_file_are_reported(client: httpx.Client, good_file: Path) -> None:
    good = good_file.read_bytes()
    problem(client.post("/v1/score", files={"wrong": ("a.wav", good)}), 422, "no_file")
    problem(client.post("/v1/score", files=[("file", ("a", good)), ("file", ("b", good))]), 400, "bad_request")
    problem(client.post("/v1/compare", files={"a": ("a.wav", good)}), 422, "no_file")
    problem(client.post("/v1/compare", content=good), 415, "no_form")
    broken = {"content-type": "multipart/form-data"}
    problem(client.post("/v1/score", content=b"x", headers=broken), 400, "bad_request")


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ({"model": "nobody"}, "unknown_model"),
        ({"model": "/etc/passwd"}, "unknown_model"),
        ({"modle": "base"}, "invalid"),
        ({"source": "a\nb"}, "invalid"),
        ({"windows": "perhaps"}, "invalid"),
    ],
)
def test_parameters_that_cannot_be_meant(
    query: dict[str, str], kind: str, client: httpx.Client, good_file: Path
) -> None:
    problem(client.post("/v1/score", content=good_file.read_bytes(), params=query), 422, kind)


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\x\\passwd", "/etc/passwd"])
def test_names_of_clients_are_labels(name: str, client: httpx.Client, good_file: Path) -> None:
    answer = client.post("/v1/score", content=good_file.read_bytes(), params={"name": name})
    assert answer.json()["file"] == "passwd"


def test_models_and_words_are_those_of_the_package(client: httpx.Client) -> None:
    told = client.get("/v1/models").json()
    assert [model["name"] for model in told["models"]] == ["base", "toy"]
    assert [target["key"] for target in told["targets"]] == list(KEYS)


def test_another_model_states_something_else(client: httpx.Client, good_file: Path) -> None:
    base, toy = (
        client.post("/v1/score", content=good_file.read_bytes(), params={"model": name}).json()
        for name in ("base", "toy")
    )
    assert base["model_sha256"] != toy["model_sha256"]
    assert base["g_mos"] != toy["g_mos"]


def test_two_recordings_and_two_sets_are_compared(client: httpx.Client, examples: Path) -> None:
    clean, noisy = (examples / name for name in ("1_clean.flac", "2_office_noise.flac"))
    single = {"a": (noisy.name, noisy.read_bytes()), "b": (clean.name, clean.read_bytes())}
    answer = client.post("/v1/compare", files=single).json()
    assert "N-MOS" in answer["verdict"][0]
    assert {one["target"]: one["difference"] > 0 for one in answer["comparisons"]}["n_mos"]
    several = [
        (side, (f"{number}.flac", path.read_bytes()))
        for side, path in (("a", noisy), ("b", clean))
        for number in range(2)
    ]
    answer = client.post("/v1/compare", files=several, params={"model": "toy"}).json()
    assert {one["items"] for one in answer["comparisons"]} == {2}


def test_picture_and_playable_are_what_they_say(client: httpx.Client, examples: Path) -> None:
    sound = (examples / "2_office_noise.flac").read_bytes()
    assert client.post("/v1/picture", content=sound).content.startswith(b"\x89PNG")
    svg = client.post("/v1/picture", content=sound, params={"format": "svg", "name": "call.flac"})
    assert svg.headers["content-type"] == "image/svg+xml"
    assert b"</svg>" in svg.content
    flac = client.post("/v1/playable", content=sound)
    samples, rate = sf.read(io.BytesIO(flac.content), dtype="float32")
    expected, _ = sf.read(examples / "2_office_noise.flac", dtype="float32")
    assert rate == 16_000
    np.testing.assert_allclose(samples, expected, atol=1e-4)


def test_there_are_no_other_methods_and_paths(client: httpx.Client) -> None:
    problem(client.get("/v1/score"), 405, "method_not_allowed")
    problem(client.get("/v1/nothing"), 404, "not_found")
    problem(client.get("/..%2f..%2fsettings.py"), 404, "not_found")


def test_channels_are_scored_as_mix_each_or_by_number(client: httpx.Client, examples: Path) -> None:
    clean, rate = sf.read(examples / "1_clean.flac", dtype="int16")
    noisy, _ = sf.read(examples / "3_crowd.flac", dtype="int16")
    length = min(len(clean), len(noisy))
    parties = [clean[:length], np.roll(noisy[:length], length // 2)]  # not at the same time

    def asked(samples: NDArray[np.int16], channels: str | None = None) -> httpx.Response:
        stored = io.BytesIO()
        sf.write(stored, samples, rate, format="WAV")
        params = {"name": "call.wav"} | ({"channels": channels} if channels else {})
        return client.post("/v1/score", content=stored.getvalue(), params=params)

    alone = [asked(samples).json() for samples in parties]
    call = np.stack(parties, axis=1)
    each = asked(call, "each").json()
    assert each["file"] == "call.wav"
    assert [row["channel"] for row in each["rows"]] == [1, 2]
    assert [[row[key] for key in KEYS] for row in each["rows"]] == [[row[key] for key in KEYS] for row in alone]
    assert asked(call, "2").json()["g_mos"] == alone[1]["g_mos"]
    mix = asked(call).json()
    assert mix == asked(call, "mix").json() | {"id": mix["id"]}
    assert mix["channel"] is None
    assert "channels_differ" in mix["flags"]
    names = [row["file"] for row in client.get("/v1/history", params={"limit": 4}).json()["rows"]]
    assert names == ["call.wav", "call.wav", "call.wav (channel 2)", "call.wav (channel 2)"]

    half = asked(np.stack([parties[0], 0 * parties[0]], axis=1), "each").json()["rows"]
    assert half[0]["error"] is None
    assert "silent" in half[1]["flags"]
    assert half[1]["g_mos"] is None
    problem(asked(0 * call, "each"), 422, "silent")
    problem(asked(call, "3"), 422, "no_channel")
    problem(asked(call, "left"), 422, "invalid")
