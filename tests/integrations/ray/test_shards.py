"""Sources -> entries -> shards, written down once."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from mtqnet.errors import NoAudioFoundError, UsageError
from mtqnet.integrations.ray import shards, sources
from mtqnet.integrations.ray.sources import INSIDE, Entry, Folder, entries, recordings
from mtqnet.scoring.batch import find

REQUEST = {"sources": ["calls"], "model_sha256": "abc", "shard_size": 3}


@pytest.fixture
def calls(tmp_path: Path, voice: Callable[..., np.ndarray]) -> Path:
    folder = tmp_path / "calls"
    for name in ("b/2.wav", "a/1.flac", "b-1.wav", ".hidden/3.wav"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, voice(1.0), 16_000)
    (folder / "notes.txt").write_text("not audio")
    return folder


@pytest.mark.parametrize(
    ("text", "scheme", "path", "options"),
    [
        ("calls/a b.wav", "", "calls/a b.wav", ""),
        ("s3://bucket/calls", "s3", "bucket/calls", ""),
        ("s3://b/c?region=eu-1&scheme=http", "s3", "b/c", "region=eu-1&scheme=http"),
        ("gs://b/what?.wav", "gs", "b/what?.wav", ""),
        ("C:/calls", "", "C:/calls", ""),
    ],
)
def test_address_is_parted_and_put_together(text: str, scheme: str, path: str, options: str) -> None:
    address = sources.parse(text)
    assert (address.scheme, address.path, address.options) == (scheme, path, options)
    assert str(address) == text and sources.parse(str(address.at(path))) == address
    assert "region" not in address.shown


def test_unknown_scheme_is_reported() -> None:
    with pytest.raises(UsageError, match="nosuch://"):
        sources.opened(sources.parse("nosuch://host/file"))


def test_folder_gives_the_files_of_the_plain_command_in_its_order(calls: Path) -> None:
    assert [entry.file for entry in entries([str(calls)])] == [str(file) for file in find(calls)]


def test_other_file_systems_give_the_same_order(calls: Path) -> None:
    found = [entry.file for entry in entries([f"file://{calls}"])]
    assert found == [f"file://{file}" for file in find(calls)]


def test_any_address_of_fsspec_will_do(calls: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for file in find(calls):
        memory.pipe(f"/shelf/{file.name}", file.read_bytes())
    found = list(entries(["memory://shelf"]))
    assert [entry.file for entry in found] == [
        "memory://shelf/1.flac",
        "memory://shelf/2.wav",
        "memory://shelf/b-1.wav",
    ]
    contents = [item.path.read_bytes() for item in recordings(found)]
    assert contents == [(calls / name).read_bytes() for name in ("a/1.flac", "b/2.wav", "b-1.wav")]


def test_manifests_name_files_relative_to_themselves(calls: Path) -> None:
    table = pa.table({"id": [1, 2], "path": ["a/1.flac", "s3://bucket/x.wav"]})
    pq.write_table(table, calls / "list.parquet")
    (calls / "list.csv").write_text("id,path\n1,a/1.flac\n2,s3://bucket/x.wav\n")
    for suffix in ("parquet", "csv"):
        found = list(entries([str(calls / f"list.{suffix}")]))
        assert [entry.file for entry in found] == [str(calls / "a/1.flac"), "s3://bucket/x.wav"]
    (calls / "list.csv").write_text("id,sound\n1,a.wav\n")
    with pytest.raises(UsageError, match="no column of files"):
        list(entries([str(calls / "list.csv")]))
    (calls / "list.csv").write_text("id,file\n1,a.wav\n2,\n")
    with pytest.raises(UsageError, match=r"row 2 .* names no file"):
        list(entries([str(calls / "list.csv")]))


def test_manifest_may_be_a_folder_of_tables_and_sounds_next_to_their_names(calls: Path) -> None:
    """As written by Spark and Hugging Face datasets: a column `audio` without text contains no names."""
    folder = calls / "list.parquet"
    folder.mkdir()
    for part, name in enumerate(("b/2.wav", "a/1.flac")):
        table = pa.table({"audio": [{"bytes": b"", "path": "x"}], "url": pa.array([name]).dictionary_encode()})
        pq.write_table(table, folder / f"part-{part}.parquet")
    found = list(entries([str(folder)]))
    assert [entry.file for entry in found] == [str(calls / name) for name in ("b/2.wav", "a/1.flac")]


def test_what_sources_have_in_common_comes_once(calls: Path) -> None:
    (calls / "list.csv").write_text("file\na/1.flac\nnew.wav\nnew.wav\n")
    found = list(entries([str(calls / "b"), str(calls), str(calls / "list.csv")]))
    names = [Path(entry.file).relative_to(calls).as_posix() for entry in found]
    assert names == ["b/2.wav", "a/1.flac", "b-1.wav", "new.wav", "new.wav"]


def test_nothing_to_score_is_reported(tmp_path: Path) -> None:
    for source in (str(tmp_path), f"file://{tmp_path}"):
        with pytest.raises(NoAudioFoundError):
            list(entries([source]))


def test_shards_are_cut_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also over several row groups of the plan; an archive is a shard of its own, the order is that of the source."""
    monkeypatch.setattr(shards, "ROW_GROUP", 2)
    found = [Entry(f"{n}.wav", f"/{n}.wav") for n in range(10)]
    found.insert(4, Entry("x.tar", "/x.tar"))
    made = shards.plan_for(Folder.of(str(tmp_path / "out")), REQUEST, iter(found))
    sizes = [len(made.entries(shard)) for shard in range(made.shards)]
    assert sizes == [3, 1, 1, 3, 3]
    assert [entry for shard in range(made.shards) for entry in made.entries(shard)] == found
    assert shards.plan_for(made.out, REQUEST, iter(())) == made  # the stored list: the bucket is not listed again


def test_other_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    out = Folder.of(str(tmp_path / "out"))
    shards.plan_for(out, REQUEST, [Entry("a.wav", "/a.wav")])
    with pytest.raises(UsageError, match="another model_sha256"):
        shards.plan_for(out, REQUEST | {"model_sha256": "def"}, ())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("Dear sir")
    with pytest.raises(UsageError, match="contains other files"):
        shards.plan_for(Folder.of(str(tmp_path / "mine")), REQUEST, ())


def test_unfinished_plan_is_made_again(tmp_path: Path) -> None:
    out = Folder.of(str(tmp_path / "out"))

    def broken() -> object:
        yield Entry("a.wav", "/a.wav")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shards.plan_for(out, REQUEST, broken())  # type: ignore[arg-type]
    assert out.names() == []
    assert shards.plan_for(out, REQUEST, [Entry("b.wav", "/b.wav")]).entries(0) == [Entry("b.wav", "/b.wav")]


def test_members_of_an_archive_come_in_order_and_a_broken_one_is_reported(calls: Path, tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as archive:
        for file in (*find(calls), calls / "notes.txt"):
            archive.add(file, file.name)
    entry = [Entry(str(path), str(path))]
    found = [(item.file, item.path.read_bytes()) for item in recordings(entry)]
    assert found == [(f"{path}{INSIDE}{file.name}", file.read_bytes()) for file in find(calls)]
    path.write_bytes(path.read_bytes()[:40_000])
    problems = [(item.file, item.problem) for item in recordings(entry)]
    assert problems[-1][0] == str(path) and "to its end" in str(problems[-1][1])
    assert all(problem is None for _, problem in problems[:-1])


def test_written_files_are_whole_and_hide_nothing(tmp_path: Path) -> None:
    out = Folder.of(str(tmp_path / "new"))
    assert out.names() == [] and not out.contains("a.bin")
    out.write("a.bin", b"one")
    out.write("a.bin", b"two")
    with out.open("a.bin") as stream:
        assert stream.read() == b"two"
    assert out.names() == ["a.bin"] and out.contains("a.bin") and not out.contains("b.bin")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.bin"]
