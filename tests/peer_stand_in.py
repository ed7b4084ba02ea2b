"""A program in the peers' place, run by any Python as theirs is by their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtqnet.corpus import ensemble

PROGRAM = """
import csv, sys
predictor, listing, target = sys.argv[1:]
columns = {{"dnsmos": ["dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808"], "distillmos": ["distillmos"]}}
rows = list(csv.DictReader(open(listing)))
with open(target, "w") as stream:
    stream.write(",".join(columns[predictor]) + "\\n")
    for number, row in enumerate(rows):
        stream.write(",".join([{first}, "2", "3", "4"][: len(columns[predictor])]) + "\\n")
print(len(rows), file=open(target + ".called", "a"))
"""
BY_START = 'row["start"]'
"""First score of a clip: where it starts"""
BY_PLACE = 'f"1.{number}"'
"""First score of a clip: 1, and its place in the list behind the point"""


def put_in(folder: Path, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """Install the replacement program; its first score of a clip is BY_START or BY_PLACE. Each call writes a file
    *.called."""
    script = folder / "worker.py"
    script.write_text(PROGRAM.format(first=first))
    monkeypatch.setattr(ensemble, "WORKER", script)
