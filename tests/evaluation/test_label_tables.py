"""Tables as other people write them: which column is taken for what, and what is said when none is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtqnet.errors import UsageError
from mtqnet.evaluation import label_tables

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
    read = label_tables.read(table(tmp_path, text))
    assert read.files[0] == file
    assert {key: ratings.mean[0] for key, ratings in read.ratings.items()} == means


def test_spread_and_number_of_votes_are_found(tmp_path: Path) -> None:
    read = label_tables.read(table(tmp_path, P808))
    assert read.votes.tolist() == [8, 9]
    assert read.ratings["s_mos"].deviation.tolist() == [0.6, 0.3]
    assert read.ratings["n_mos"].half.tolist() == [0.35, 0.26]
    nisqa = label_tables.read(table(tmp_path, NISQA))
    assert (nisqa.ratings["g_mos"].deviation[0], nisqa.votes[0], nisqa.condition) == (0.8, 5, "con")


def test_system_of_a_voicemos_name_is_the_condition(tmp_path: Path) -> None:
    read = label_tables.read(table(tmp_path, VOICEMOS))
    assert read.column(read.condition) == ("sys64e2f", "sys64e2f", "sys0b0b0")


def test_empty_cells_are_no_ratings(tmp_path: Path) -> None:
    read = label_tables.read(table(tmp_path, QUEST3))
    assert np.isnan(read.ratings["s_mos"].mean).tolist() == [False, True]
    assert read.ratings["g_mos"].mean.tolist() == [2.75, 1.5]


def test_noisiness_is_not_taken_for_n_mos(tmp_path: Path) -> None:
    assert "n_mos" not in label_tables.read(table(tmp_path, NISQA)).ratings
    asked = label_tables.read(table(tmp_path, NISQA), columns={"n_mos": "noi"})
    assert asked.ratings["n_mos"].mean.tolist() == [2.0]
    assert asked.ratings["n_mos"].deviation.tolist() == [0.9]


def test_options_go_before_the_rule(tmp_path: Path) -> None:
    text = "file,other,mos,mine\na.wav,b.wav,3.0,4.0\n"
    read = label_tables.read(table(tmp_path, text), "other", {"g_mos": "mine"})
    assert read.files == ("b.wav",)
    assert read.ratings["g_mos"].mean.tolist() == [4.0]


def test_spreadsheet_of_windows_is_read(tmp_path: Path) -> None:
    read = label_tables.read(table(tmp_path, "file;MOS\nGespräch.wav;3,5\n", "cp1252"))
    assert read.files == ("Gespräch.wav",)
    assert read.ratings["g_mos"].mean.tolist() == [3.5]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("file,mos\n", "nothing below it"),
        ("a,b\n1,2\n", "looked for a column filepath_deg, file,"),
        ("file,colour\na.wav,red\n", "looked for s_mos: s_mos, smos"),
        ("file,mos\na.wav,good\n", "'good' is no number"),
        ("file,mos,mos\na.wav,1,2\n", "two columns named 'mos'"),
    ],
)
def test_what_is_no_table_of_ratings_is_told(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        label_tables.read(table(tmp_path, text))


def test_wrong_options_name_what_there_is(tmp_path: Path) -> None:
    path = table(tmp_path, UDASE)
    with pytest.raises(UsageError, match="no column 'wav': there are sample, condition"):
        label_tables.read(path, "wav")
    with pytest.raises(UsageError, match="no score is called 'mos'"):
        label_tables.read(path, columns={"mos": "SIG"})
    with pytest.raises(UsageError, match="cannot read"):
        label_tables.read(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("name", "scale", "votes"),
    [
        ("p835_csp835_refconditions/labels.csv", True, 12),
        ("p835_noizeus_refconditions_8k/labels_per_condition.csv", True, 132),
        ("mushra_neural_codec/labels.csv", False, 11),
    ],
)
def test_rated_sets_of_the_project_just_work(shared_data: Path, name: str, scale: bool, votes: int) -> None:
    read = label_tables.read(shared_data / name)
    assert read.ratings["g_mos"].same_scale is scale
    assert read.votes[0] == votes
    assert read.condition == "condition"
    assert not np.isnan(read.ratings["g_mos"].deviation).any()
    assert set(read.ratings) == ({"s_mos", "n_mos", "g_mos"} if scale else {"g_mos"})
    assert all((read.path.parent / file).is_file() for file in read.files)
