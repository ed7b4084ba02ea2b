"""Sources of speech and noise: download, selection, conversion, index; with generated repositories and sounds."""

from __future__ import annotations

import csv
import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.corpus.sources import scan
from research.sources import __main__ as command
from research.sources import convert, noises, store
from research.sources.catalogue import SPEECH, Material, Source, by_pattern
from research.sources.noises import NOISE
from research.sources.routes import Debian, FolderFiles, Git, Places, SourceError, members

Samples = NDArray[np.float32]
RATE = convert.RATE


def voice(seconds: float, pause: float = 0.3, floor_db: float = -75.0, seed: int = 0) -> Samples:
    """Bursts of wideband noise of 0.7 s with pauses: what level-based measures need of speech."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    spoken = (time % (0.7 + pause)) < 0.7
    wave = rng.standard_normal(len(time)) * np.where(spoken, 0.1, 0.0)
    return (wave + 10 ** (floor_db / 20) * rng.standard_normal(len(time))).astype(np.float32)


def wav(samples: Samples, rate: int = RATE, form: str = "WAV") -> bytes:
    stream = io.BytesIO()
    sf.write(stream, samples, rate, format=form)
    return stream.getvalue()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path, files: Mapping[str, bytes]) -> str:
    """Make a repository with these files; return its commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "x")
    return git(folder, "rev-parse", "HEAD")


LICENCE = {"LICENSE": b"CC0 1.0 Universal\n"}


def source(route: Git, form: str = "sentences", phrase: str = "CC0", **facts: int) -> Source:
    select = by_pattern(r"audio/(\w+)_\d+\.\w+", r"demo-\1", "de", **facts)
    return Source("demo", form, route, "CC0", "somebody", ("LICENSE", phrase), select)  # type: ignore[arg-type]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_source_becomes_a_folder_that_the_corpus_builder_reads(tmp_path: Path) -> None:
    commit = repository(
        tmp_path / "mirror/owner+demo/repo",
        LICENCE
        | {
            "audio/anna_1.wav": wav(voice(12.0), 44_100),  # 4.4 s
            "audio/bert_1.flac": wav(voice(5.0, seed=1), 16_000, "FLAC"),
            "audio/noisy_1.wav": wav(voice(5.0, floor_db=-40.0)),
            "audio/loud_1.wav": wav(np.clip(voice(5.0) * 40, -1, 1)),
            "audio/text_1.wav": b"this is no audio",
            "audio/again_1.flac": wav(voice(5.0, seed=1), 16_000, "FLAC"),
        },
    )
    demo = source(Git("owner/demo", commit))
    outcome = store.store(demo, Places(tmp_path / "cache", tmp_path / "mirror"), tmp_path / "out")
    rows = rows_of(tmp_path / "out/speech/demo")
    assert {row["speaker"] for row in rows} == {"demo-anna", "demo-again"}  # the duplicate comes first
    assert outcome.rejected["contrast too low"] == 1
    assert outcome.rejected["clipped"] == outcome.rejected["not readable"] == outcome.rejected["duplicate"] == 1
    row = next(row for row in rows if float(row["seconds"]) > 4)
    assert (row["language"], row["licence"], row["credit"], row["split"]) == ("de", "CC0", "somebody", "")
    assert row["source"] == f"GitHub owner/demo at {commit[:12]}" and row["origin"].startswith("audio/")
    assert float(row["contrast_db"]) > 40 and int(row["bandwidth_hz"]) > 7500
    items = scan([tmp_path / "out/speech"], by_speaker=True)
    assert {item.path for item in items} == {f"{tmp_path}/out/speech/demo/{row['file']}" for row in rows}
    info = sf.info(items[0].path)
    assert (info.samplerate, info.channels, info.format) == (16_000, 1, "FLAC")


def test_unlabelled_speakers_are_one_group_of_the_training_split(tmp_path: Path) -> None:
    commit = repository(tmp_path / "mirror/demo", LICENCE | {"audio/crowd_1.wav": wav(voice(5.0))})
    demo = source(Git("owner/demo", commit), unlabelled=50)
    store.store(demo, Places(tmp_path / "cache", tmp_path / "mirror"), tmp_path / "out")
    row = rows_of(tmp_path / "out/speech/demo")[0]
    assert (row["unlabelled"], row["split"]) == ("50", "train")


def test_without_a_mirror_the_commit_is_fetched_from_its_address(tmp_path: Path) -> None:
    commit = repository(tmp_path / "origin", LICENCE | {"audio/anna_1.wav": wav(voice(4.0))})
    route = Git("owner/demo", commit, url=(tmp_path / "origin").as_uri())
    files = route.open(Places(tmp_path / "cache"))
    assert files.paths() == ["LICENSE", "audio/anna_1.wav"]
    assert dict(files.read(["LICENSE"])) == {"LICENSE": LICENCE["LICENSE"]}
    (tmp_path / "origin").rename(tmp_path / "moved")  # the second time the cache is enough
    assert route.open(Places(tmp_path / "cache")).paths() == files.paths()


def test_a_commit_that_cannot_be_had_is_an_error_with_the_reason(tmp_path: Path) -> None:
    route = Git("owner/demo", "0" * 40, url=(tmp_path / "nowhere").as_uri())
    with pytest.raises(SourceError, match=r"fetch.*failed"):
        route.open(Places(tmp_path / "cache"))


def test_a_source_whose_licence_text_has_changed_is_not_used(tmp_path: Path) -> None:
    commit = repository(tmp_path / "mirror/demo", LICENCE | {"audio/anna_1.wav": wav(voice(4.0))})
    demo = source(Git("owner/demo", commit), phrase="MIT License")
    with pytest.raises(SourceError, match="no longer contains 'MIT License'"):
        store.store(demo, Places(tmp_path / "cache", tmp_path / "mirror"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_of_git_that_is_missing_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "mirror/demo"
    commit = repository(
        folder, LICENCE | {"audio/a_1.wav": wav(voice(4.0)), "audio/b_1.wav": wav(voice(5.0, seed=1))}
    )
    blob = git(folder, "rev-parse", f"{commit}:audio/a_1.wav")
    (folder / ".git/objects" / blob[:2] / blob[2:]).unlink()
    demo = source(Git("owner/demo", commit))
    outcome = store.store(demo, Places(tmp_path / "cache", tmp_path / "mirror"), tmp_path / "out")
    assert outcome.rejected["content missing"] == 1 and len(outcome.rows) == 1


def test_long_recordings_are_cut_in_pauses() -> None:
    long = np.concatenate([np.zeros(RATE // 5), voice(60.0, pause=0.4)]).astype(np.float32)
    pieces = list(convert.utterances(long))
    assert all(convert.SHORTEST_S <= len(piece) / RATE <= convert.MAX_S for piece in pieces)
    assert 55 < sum(map(len, pieces)) / RATE <= 60
    for piece in pieces:  # no cut inside a burst: each piece begins and ends quietly
        assert max(np.abs(piece[:800]).max(), np.abs(piece[-800:]).max()) < 0.01


def test_a_stretch_without_a_pause_is_cut_all_the_same() -> None:
    pieces = list(convert.utterances(voice(35.0, pause=0.0)))
    assert len(pieces) >= 4 and max(map(len, pieces)) <= convert.MAX_S * RATE


def test_words_are_joined_to_utterances_with_their_own_background_between_them() -> None:
    words = [np.concatenate([voice(1.0, 0.3, seed=n), voice(0.5, 9.0, seed=n)[:0]]) for n in range(20)]
    joined = list(convert.join(words, seed=1))
    assert [first for first, _ in joined] == sorted({first for first, _ in joined}) and joined[0][0] == 0
    for _, piece in joined[:-1]:
        assert convert.MIN_S <= len(piece) / RATE <= convert.MAX_S
        assert convert.measure(piece).contrast_db > convert.MIN_CONTRAST_DB
        assert np.mean(piece == 0) < 0.01  # no digital silence
    assert [len(piece) for _, piece in convert.join(words, seed=1)] == [len(piece) for _, piece in joined]


def test_trim_removes_silence_and_returns_nothing_for_silence() -> None:
    padded = np.concatenate([np.zeros(RATE), voice(2.0), np.zeros(RATE)]).astype(np.float32)
    assert 1.6 < len(convert.trim(padded)) / RATE < 2.4
    assert len(convert.trim(np.zeros(RATE, np.float32))) == 0


@pytest.mark.parametrize(
    ("rate", "low", "high"), [(8_000, 3_700, 4_300), (11_025, 5_200, 5_900), (16_000, 7_800, 8_000)]
)
def test_bandwidth_of_what_was_sampled_slowly(rate: int, low: int, high: int) -> None:
    samples, _ = convert.decode(
        wav(np.random.default_rng(0).standard_normal(rate * 3).astype(np.float32) * 0.1, rate), ".wav"
    )
    assert low <= convert.measure(samples).bandwidth_hz <= high


def test_noise_is_cut_into_pieces_of_one_group_and_silence_is_dropped(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hum = (rng.standard_normal(130 * 2000) * 0.1).astype(np.float32)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        data = wav(hum[: 2000 * 4], 2000)
        member = tarfile.TarInfo("inner.wav")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    commit = repository(
        tmp_path / "mirror/demo",
        LICENCE
        | {"n/a.wav": wav(hum, 2000), "n/b.wav": wav(hum[:6000] * 1e-5, 2000), "n/c.tar.gz": archive.getvalue()},
    )
    materials = [
        Material("n/a.wav", kind="machine", group="old/a.flac", skip_s=10.0),
        Material("n/b.wav", kind="machine"),
        Material("n/c.tar.gz", kind="machine", licence="CC BY", credit="Eva"),
    ]
    demo = Source("demo", "noise", Git("o/demo", commit), "CC0", "x", ("LICENSE", ""), lambda _: materials)
    outcome = store.store(demo, Places(tmp_path / "cache", tmp_path / "mirror"), tmp_path / "out")
    rows = rows_of(tmp_path / "out/noise/demo")
    assert [row["group"] for row in rows] == ["old/a.flac", "old/a.flac", "demo/n/c.tar.gz"]
    assert [float(row["seconds"]) for row in rows] == pytest.approx([60.0, 60.0, 4.0])
    assert [row["credit"] for row in rows] == ["x", "x", "Eva"]
    assert outcome.rejected["silent or below a second"] == 1


def test_precise_uses_only_files_that_a_licence_text_names(tmp_path: Path) -> None:
    precise = next(source for source in SPEECH if source.name == "precise")
    files = {
        "licenses/license-20190801-el-tocino.txt": (
            b"place into the public domain\nFiles:\nathena-en-1.wav\n../x/y-es-2.wav\n"
        ),
        "licenses/license-20200101-mean.txt": b"all rights reserved\nathena-en-3.wav\n",
        "athena/en/athena-en-1.wav": b"", "x/es/y-es-2.wav": b"", "athena/en/athena-en-3.wav": b"",
        "heysavant/wake-word/en/athena-en-1.wav": b"",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = {
        (material.path, material.language, material.credit) for material in precise.select(FolderFiles(tmp_path))
    }
    assert found == {("athena/en/athena-en-1.wav", "en", "el-tocino"), ("x/es/y-es-2.wav", "es", "el-tocino")}


def test_esc_10_takes_licence_and_credit_of_each_clip_from_its_text(tmp_path: Path) -> None:
    (tmp_path / "002 - Rain").mkdir()
    for name in ("1-17367-A", "1-17367-B", "1-2-A", "1-3-A"):
        (tmp_path / f"002 - Rain/{name}.ogg").write_bytes(b"")
    line = (
        "- **[{0}.ogg](https://x/{0}.ogg)**:   clip derived from [r.wav](http://x) by *Eva B* ([{1}](http://x))\n"
    )
    entries = (("1-17367-A", "CC0"), ("1-17367-B", "CC-BY"), ("1-2-A", "CC-Sampling+"))
    (tmp_path / "README.md").write_text("".join(line.format(*entry) for entry in entries))
    found = noises._esc(FolderFiles(tmp_path))
    assert [(m.licence, m.group, m.kind) for m in found] == [
        ("CC0", "freesound/17367", "rain_water"), ("CC BY 3.0", "freesound/17367", "rain_water"),
    ]  # fmt: skip
    assert "Eva B" in found[0].credit


def test_members_of_an_archive_that_is_no_archive() -> None:
    with pytest.raises(tarfile.ReadError):
        list(members(b"no archive"))


def test_names_of_sources_are_unique_and_commits_are_complete() -> None:
    every = [*SPEECH, *NOISE]
    assert len({source.name for source in every}) == len(every)
    for one in every:
        assert isinstance(one.route, Debian) or len(one.route.commit) == 40
        assert one.licence and one.credit and one.evidence[0]
        assert not any(word in one.licence for word in ("NC", "ND"))


def test_the_command_reports_what_failed_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = repository(tmp_path / "mirror/demo", LICENCE | {"audio/anna_1.wav": wav(voice(5.0))})
    good = source(Git("owner/demo", commit))
    bad = Source("bad", "sentences", Git("owner/none", "1" * 40, (tmp_path / "none").as_uri()), "CC0", "x",
                 ("LICENSE", ""), good.select)  # fmt: skip
    monkeypatch.setattr(command, "SPEECH", (good, bad))
    monkeypatch.setattr(command, "NOISE", ())
    options = ["--out", str(tmp_path / "out"), "--mirror", str(tmp_path / "mirror")]
    assert command.main(options) == 1
    shown = capsys.readouterr()
    assert "bad: " in shown.err and "demo: 1 files" in shown.err and "0.1 (0.00 h)" in shown.out
    written = (tmp_path / "out/speech/demo/index.csv").stat().st_mtime_ns
    assert command.main([*options, "--only", "demo"]) == 0
    assert (tmp_path / "out/speech/demo/index.csv").stat().st_mtime_ns == written
    assert command.main([*options, "--only", "unknown"]) == 2
