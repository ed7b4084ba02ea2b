"""Tables of other tools: which columns are recognised, and the error if there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtqnet.errors import UsageError
from mtqnet.evaluation import ratings

P808 = (
    "condition_name,n,MOS_BAK,MOS_SIG,MOS_OVRL,std_bak,std_sig,std_ovrl,95%CI_bak,95%CI_sig,95%CI_ovrl,file_url\n"
    "c01,8,4.1,3.2,3.0,0.5,0.6,0.7,0.35,0.42,0.49,https://example.org/clips/a.wav\n"
    "c02,9,2.1,4.2,2.9,0.4,0.3,0.2,0.26,0.2,0.13,https://example.org/clips/b.wav\n"
)
NISQA = (
    "db,con,file,con_description,filename_deg,filename_ref,source,lang,votes,mos,noi,col,dis,loud,noi_std,mos_std,"
    "filepath_deg,filepath_ref\n"
    "NISQA_VAL_SIM,1,7,noise,c1_f1.wav,f1.wav,x,en,5,3.2,2.0,4.0,4.1,4.2,0.9,0.8,"
    "NISQA_VAL_SIM/deg/c1_f1.wav,NISQA_VAL_SIM/ref/f1.wav\n"
)
VOICEMOS = "sys64e2f-utt6ad5c1a.wav,4.5\nsys64e2f-utt7bd5c1a.wav,4.25\nsys0b0b0-utt0a0a0.wav,1.5\n"
TRACK3 = "systems,SIG,BAK,OVR\nabc,3.5,4.5,3.25\n"
UDASE = "sample,condition,SIG,BAK,OVRL\ns1.wav,C1,3.5,4.5,3.25\n"
QUEST3 = "Filename;3QUEST S;3QUEST N;3QUEST G\ncall_1.wav;3,42;2,5;2,75\ncall_2.wav;;;1,5\n"
ACQUA = "\ufeffFile\tS-MOS (fb)\tN-MOS (fb)\tG-MOS (fb)\ncall_1.wav\t3.42\t2.5\t2.75\n"


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(
    ("text", "file", "means"),
    [
        (P808, "https://example.org/clips/a.wav", {"s_mos": 3.2, "n_mos": 4.1, "g_mos": 3.0}),
        (NISQA, "NISQA_VAL_SIM/deg/c1_f1.wav", {"g_mos": 3.2}),
        (VOICEMOS, "sys64e2f-utt6ad5c1a.wav", {"g_mos": 4.5}),
        (TRACK3, "abc", {"s_mos": 3.5, "n_mos": 4.5, "g_mos": 3.25}),
        (UDASE, "s1.wav", {"s_mos": 3.5, "n_mos": 4.5, "g_mos": 3.25}),
        (QUEST3, "call_1.wav", {"s_mos": 3.42, "n_mos": 2.5, "g_mos": 2.75}),
        (ACQUA, "call_1.wav", {"s_mos": 3.42, "n_mos": 2.5, "g_mos": 2.75}),
    ],
    ids=["p808", "nisqa", "voicemos", "voicemos_track3", "udase", "3quest", "acqua"],
)
def test_tables_as_they_are_found(tmp_path: Path, text: str, file: str, means: dict[str, float]) -> None:
    read = ratings.read(table(tmp_path, text))
    assert read.files[0] == file
    assert {key: ratings.mean[0] for key, ratings in read.ratings.items()} == means


def test_spread_and_number_of_votes_are_found(tmp_path: Path) -> None:
    read = ratings.read(table(tmp_path, P808))
    assert read.votes.tolist() == [8, 9]
    assert read.ratings["s_mos"].deviation.tolist() == [0.6, 0.3]
    assert read.ratings["n_mos"].half.tolist() == [0.35, 0.26]
    nisqa = ratings.read(table(tmp_path, NISQA))
    assert (nisqa.ratings["g_mos"].deviation[0], nisqa.votes[0], nisqa.condition) == (0.8, 5, "con")


def test_system_of_a_voicemos_name_is_the_condition(tmp_path: Path) -> None:
    read = ratings.read(table(tmp_path, VOICEMOS))
    assert read.column(read.condition) == ("sys64e2f", "sys64e2f", "sys0b0b0")


def test_empty_cells_are_no_ratings(tmp_path: Path) -> None:
    read = ratings.read(table(tmp_path, QUEST3))
    assert np.isnan(read.ratings["s_mos"].mean).tolist() == [False, True]
    assert read.ratings["g_mos"].mean.tolist() == [2.75, 1.5]


def test_noisiness_is_not_taken_for_n_mos(tmp_path: Path) -> None:
    assert "n_mos" not in ratings.read(table(tmp_path, NISQA)).ratings
    asked = ratings.read(table(tmp_path, NISQA), columns={"n_mos": "noi"})
    assert asked.ratings["n_mos"].mean.tolist() == [2.0]
    assert asked.ratings["n_mos"].deviation.tolist() == [0.9]


def test_options_go_before_the_rule(tmp_path: Path) -> None:
    text = "file,other,mos,mine\na.wav,b.wav,3.0,4.0\n"
    read = ratings.read(table(tmp_path, text), "other", {"g_mos": "mine"})
    assert read.files == ("b.wav",)
    assert read.ratings["g_mos"].mean.tolist() == [4.0]


def test_spreadsheet_of_windows_is_read(tmp_path: Path) -> None:
    read = ratings.read(table(tmp_path, "file;MOS\nGespräch.wav;3,5\n", "cp1252"))
    assert read.files == ("Gespräch.wav",)
    assert read.ratings["g_mos"].mean.tolist() == [3.5]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("file,mos\n", "no rows below it"),
        ("a,b\n1,2\n", "looked for a column filepath_deg, file,"),
        ("file,colour\na.wav,red\n", "looked for s_mos: s_mos, smos"),
        ("file,mos\na.wav,good\n", "row 1 .line 2., column 'mos': 'good' is not a number"),
        ("file,mos,mos\na.wav,1,2\n", "two columns named 'mos'"),
        ("file,mos,MOS\na.wav,1,2\n", "several columns for g_mos: 'mos', 'MOS'"),
    ],
)
def test_what_is_no_table_of_ratings_is_reported(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ratings.read(table(tmp_path, text))


def test_wrong_options_name_what_there_is(tmp_path: Path) -> None:
    path = table(tmp_path, UDASE)
    with pytest.raises(UsageError, match="no column 'wav': the columns are sample, condition"):
        ratings.read(path, "wav")
    with pytest.raises(UsageError, match="no score is called 'mos'"):
        ratings.read(path, columns={"mos": "SIG"})
    with pytest.raises(UsageError, match="cannot read"):
        ratings.read(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("name", "scale", "votes"),
    [
        ("p835_csp835_refconditions/labels.csv", True, 12),
        ("p835_noizeus_refconditions_8k/labels_per_condition.csv", True, 132),
        ("mushra_neural_codec/labels.csv", False, 11),
    ],
)
def test_rated_sets_of_the_project_just_work(shared_data: Path, name: str, scale: bool, votes: int) -> None:
    read = ratings.read(shared_data / name)
    assert read.ratings["g_mos"].same_scale is scale
    assert read.votes[0] == votes
    assert read.condition == "condition"
    assert not np.isnan(read.ratings["g_mos"].deviation).any()
    assert set(read.ratings) == ({"s_mos", "n_mos", "g_mos"} if scale else {"g_mos"})
    assert all((read.path.parent / file).is_file() for file in read.files)


def csv_of(rows: list[str], header: str = "file,mos") -> str:
    return "\n".join([header, *rows]) + "\n"


def test_one_row_per_vote_is_averaged_and_counted(tmp_path: Path) -> None:
    votes = {"a.wav": (3, 4, 4), "b.wav": (1, 2, 1, 1)}
    rows = [f"{file},L{n},{vote}" for file, all_ in votes.items() for n, vote in enumerate(all_)]
    read = ratings.read(table(tmp_path, csv_of(rows, "file,listener,mos")))
    found = read.ratings["g_mos"]
    assert read.files == ("a.wav", "b.wav")
    assert found.mean.tolist() == pytest.approx([11 / 3, 1.25])
    assert found.votes.tolist() == read.votes.tolist() == [3, 4]
    assert found.deviation.tolist() == pytest.approx([np.std([3, 4, 4], ddof=1), np.std([1, 2, 1, 1], ddof=1)])
    assert read.notes == ("one row per vote: 7 rows averaged per recording (2 recordings with 3 to 4 votes)",)
    with pytest.raises(UsageError, match="column 'listener' cannot group recordings"):
        read.column("listener")


def test_votes_without_a_listener_are_all_counted(tmp_path: Path) -> None:
    read = ratings.read(table(tmp_path, csv_of(["a.wav,3", "a.wav,3", "a.wav,5", "b.wav,2", "b.wav,2"])))
    assert read.ratings["g_mos"].mean.tolist() == pytest.approx([11 / 3, 2])
    assert read.ratings["g_mos"].votes.tolist() == [3, 2]


def test_identical_votes_of_one_listener_are_duplicates(tmp_path: Path) -> None:
    rows = ["a.wav,L1,3", "a.wav,L1,3", "a.wav,L2,5", "b.wav,L1,2", "b.wav,L2,2"]
    read = ratings.read(table(tmp_path, csv_of(rows, "file,listener,mos")))
    assert read.ratings["g_mos"].mean.tolist() == [4, 2]
    assert "1 duplicated row counted once, first: row 2 (line 3)" in read.notes


def test_duplicated_rows_are_counted_once(tmp_path: Path) -> None:
    rows = [f"{n}.wav,{2 + n / 10}" for n in range(4)]
    read = ratings.read(table(tmp_path, csv_of([row for row in rows for _ in range(2)])))
    assert len(read.files) == 4
    assert np.isnan(read.ratings["g_mos"].votes).all()
    assert read.notes == ("4 duplicated rows counted once, first: row 2 (line 3)",)


def test_sessions_of_one_recording_are_averaged_by_their_votes(tmp_path: Path) -> None:
    rows = ["a.wav,3,1,0.5", "a.wav,4,3,0.5", "b.wav,2,4,0.5", "c.wav,5,4,0.5"]
    read = ratings.read(table(tmp_path, csv_of(rows, "file,mos,votes,mos_std")))
    found = read.ratings["g_mos"]
    assert found.mean.tolist() == [3.75, 2, 5]
    assert found.votes.tolist() == [4, 4, 4]
    assert found.deviation[0] == pytest.approx(np.sqrt((2 * 0.25 + 0.75**2 + 3 * 0.25**2) / 3))
    assert "1 recording with several different rows, averaged" in read.notes[0]


@pytest.mark.parametrize("code", ["0", "-1", "99", "999", "-99", "NA", "#N/A", "", "-"])
def test_codes_for_no_rating_are_recognised(tmp_path: Path, code: str) -> None:
    read = ratings.read(table(tmp_path, csv_of(["a.wav,3", f"b.wav,{code}", "c.wav,4.5", "d.wav,2"])))
    assert np.isnan(read.ratings["g_mos"].mean).tolist() == [False, True, False, False]
    assert read.ratings["g_mos"].same_scale
    if code.lstrip("-").isdigit():
        assert read.notes == (f"column 'mos': 1 cell with {code} read as no rating, first: row 2 (line 3)",)


@pytest.mark.parametrize("value", ["6", "0.5", "-2", "31", "1e9"])
def test_a_rating_outside_the_scale_is_refused_with_its_row(tmp_path: Path, value: str) -> None:
    with pytest.raises(
        UsageError, match=r"row 2 \(line 3\), column 'mos': .* is outside the scale of G-MOS, 1 to 5"
    ):
        ratings.read(table(tmp_path, csv_of(["a.wav,3", f"b.wav,{value}", "c.wav,4.5", "d.wav,2"])))


@pytest.mark.parametrize("value", ["inf", "1e999", "0x10", "1_0", "\uff11", "3;4", "=1+1"])
def test_what_is_no_number_is_refused_with_its_row(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match=r"row 2 \(line 3\), column 'mos'"):
        ratings.read(table(tmp_path, csv_of(["a.wav,3", f"b.wav,{value}"])))


def test_another_scale_is_reported_and_its_ends_are_ratings(tmp_path: Path) -> None:
    read = ratings.read(table(tmp_path, csv_of(["a.wav,0", "b.wav,99", "c.wav,57.5", "d.wav,3", "e.wav,62"])))
    assert not read.ratings["g_mos"].same_scale
    assert read.ratings["g_mos"].mean.tolist() == [0, 99, 57.5, 3, 62]
    assert "another scale than 1 to 5 (0 to 99)" in read.notes[0]
    with pytest.raises(UsageError, match=r"row 2 .*101 is outside the scale of G-MOS, 0 to 100"):
        ratings.read(table(tmp_path, csv_of(["a.wav,20", "b.wav,101", "c.wav,57.5"])))


def test_3quest_exports_with_the_band_as_suffix(tmp_path: Path) -> None:
    rows = ["1;3,4;2,5;2,8", "2;4,1;3,9;3,8"]
    read = ratings.read(table(tmp_path, csv_of(rows, "Measurement No.;S-MOS-LQOw;N-MOS-LQOw;G-MOS-LQOw")))
    assert read.files == ("1", "2")
    assert {key: one.mean[0] for key, one in read.ratings.items()} == {"s_mos": 3.4, "n_mos": 2.5, "g_mos": 2.8}


def test_3quest_exports_of_two_bands_in_one_table(tmp_path: Path) -> None:
    header = "File,S-MOS-LQOn,N-MOS-LQOn,S-MOS-LQOw,N-MOS-LQOw"
    read = ratings.read(table(tmp_path, csv_of(["a.wav,3.1,2.1,,", "b.wav,,,4.2,3.2"], header)))
    assert read.ratings["s_mos"].mean.tolist() == [3.1, 4.2]
    assert read.ratings["n_mos"].mean.tolist() == [2.1, 3.2]
    assert read.column("band") == ("n", "w")
    with pytest.raises(UsageError, match=r"row 2 \(line 3\): values in 'S-MOS-LQOn' and 'S-MOS-LQOw'"):
        ratings.read(table(tmp_path, csv_of(["a.wav,3.1,2.1,,", "b.wav,3,,4.2,3.2"], header)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_spreadsheets(tmp_path: Path, encoding: str) -> None:
    read = ratings.read(table(tmp_path, "file\tmos\r\nGespräch.wav\t3,5\r\nb.wav\t2\r\n", encoding))
    assert read.files == ("Gespräch.wav", "b.wav")
    assert read.ratings["g_mos"].mean.tolist() == [3.5, 2]


@pytest.mark.parametrize(
    "text",
    ["sep=;\nfile;mos\na.wav;3,5\n", "Listening test 2026,\n,\nfile,mos\na.wav,3.5\n", "file,mos,,\na.wav,3.5,,\n",
     "stimulus,ACR\na.wav,3.5\n", "file,mos\n\n./a.wav,3.5\n\n"],
)  # fmt: skip
def test_habits_of_spreadsheets(tmp_path: Path, text: str) -> None:
    read = ratings.read(table(tmp_path, text))
    assert [file.removeprefix("./") for file in read.files] == ["a.wav"]
    assert read.ratings["g_mos"].mean.tolist() == [3.5]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"file,mos\na.wav,3\n,4\n", r"row 2 \(line 3\), column 'file': empty"),
        (b"file,mos\na.wav,3\x00\n", "line 2: a NUL character"),
        (b"file,mos\n" + b"x" * 200_000 + b",3\n", "line 2: a cell has more than 131,072 characters"),
        (b'file,mos\na.wav,3\n"b.wav,4\nc.wav,5\n', "line 3: not a valid table"),
        (b"file,mos\na.wav,3,4\n", "line 2: 3 cells, but the header has 2 columns"),
        (b"file,s_mos,mos\na.wav,3,4\nb.wav,3.", "line 3: the last row is cut off after 2 cells"),
        (b"PK\x03\x04" + bytes(100), "save it as CSV"),
        (b"file,mos\na.wav,0\nb.wav,99\n", "has no rating in mos"),
    ],
)
def test_damaged_tables_are_refused_with_their_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=says):
        ratings.read(path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"[" * 100_000, "line 1: damaged, not a JSON object"),
        ("a.jsonl", b'{"file":' + b"[" * 50_000 + b"]" * 50_000 + b"}\n", "line 1: damaged"),
        ("a.jsonl", b"[1, 2]\n", "expected a JSON object per line"),
        ("a.parquet", b"PAR1" + bytes(3000) + b"PAR1", "is damaged or is not a Parquet file"),
        ("a.parquet", b"", "is damaged or is not a Parquet file"),
        ("a.jsonl", b'{"file": "\\ud800.wav", "mos": 3}\n', "row 1, column 'file': a NUL character or an invalid"),
        ("a.jsonl", b'{"file": "a\\u0000.wav", "mos": 3}\n', "row 1, column 'file': a NUL character"),
    ],
)
def test_damaged_files_of_other_formats_are_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=says):
        ratings.read(tmp_path / name)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_ratings_in_other_formats(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"file": ["a.wav", "b.wav"], "mos": [3.5, None]})
    path = tmp_path / f"labels{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_json(path, orient="records", lines=True)
    read = ratings.read(path)
    assert read.ratings["g_mos"].mean[0] == 3.5 and np.isnan(read.ratings["g_mos"].mean[1])


def test_rows_of_one_recording_in_two_conditions_cannot_be_grouped(tmp_path: Path) -> None:
    read = ratings.read(table(tmp_path, csv_of(["u.wav,A,3", "u.wav,B,4", "v.wav,A,2"], "file,condition,mos")))
    with pytest.raises(UsageError, match=r"the rows of u\.wav have 'A' and 'B'"):
        read.column("condition")
