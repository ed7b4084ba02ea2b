"""Write MODEL_CARD.md from the records of models and the result files of commands. All figures are read from files.

    python -m research.model_card base small --results docs/results/card -o MODEL_CARD.md

The text is in model_card.md.j2. A folder of results may contain these files for each model NAME:
    NAME.rated.csv        agreement with rated sets, as tools/rated_sets.py check --csv writes it
    NAME.invariance.csv   as `python -m research.invariance` writes it
and these for all models:
    witnesses.csv         agreement with predictors after noise suppression, as `make witnesses` writes it
    peers.csv             rows arm, split, target, lcc of other predictors on the same rated sets
                          (docs/results/models.csv of `python -m research.experiments` has them)
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from mtqnet.cli.terminal import reported_errors
from mtqnet.errors import ModelError, missing_extra
from mtqnet.scoring import models as shipped
from mtqnet.scoring.models import ModelRecord
from mtqnet.targets import BY_KEY, QUEST, TARGETS

Row = dict[str, str]

NEEDED = frozenset(("parameters", "config", "seed", "minutes", "labels", "figures", "parity"))
"""Entries of a record that training writes and scoring does not read"""
RATED = {
    "p835_csp835_refconditions": ("csp835", "CSP835"),
    "p835_noizeus_refconditions_8k": ("noizeus", "NOIZEUS, 8 kHz"),
    "mushra_neural_codec": ("mushra", "neural codecs, MUSHRA"),
}
"""Folder of a rated set -> its name in tables of experiments, and its name on the card"""
PEERS = {"dnsmos": "DNSMOS P.835", "dnsmos_p808": "DNSMOS P.808", "distillmos": "Distill-MOS"}
"""Condition in the table of experiments -> its name on the card"""
PREDICTORS = {
    "dnsmos_sig": "DNSMOS SIG",
    "dnsmos_bak": "DNSMOS BAK",
    "dnsmos_ovrl": "DNSMOS OVRL",
    "dnsmos_p808": "DNSMOS P.808",
    "distillmos": "Distill-MOS",
}
"""Column of witnesses.csv -> its name on the card"""
STAGES = {
    "features, train": "features of the training clips",
    "features, validation": "features of the validation clips",
    "teacher": "scores of the teacher",
    "features of the teacher": "intermediate features of the teacher",
    "encoder and network": "joint training of encoder and network",
    "network": "training of the network behind the encoder",
    "small": "training of the network",
}
"""Stage in the record of a model -> its name on the card"""
POOR_COVERAGE = 0.85
"""Kinds of processing whose intervals contain a smaller fraction of the labels are listed"""


@dataclass(frozen=True)
class Carded:
    """A model with its record and results."""

    model: ModelRecord
    record: Mapping[str, Any]
    rated: Sequence[Row]
    invariance: Sequence[Row]

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def behind(self) -> str:
        """The encoder, and whether it was trained or frozen"""
        encoder = self.record["config"]["encoder"]
        if "encoder" not in self.record["config"]["network"]["front_ends"]:
            return "no encoder"
        training = ", trained jointly" if self.record.get("tuned_encoder") else ", frozen"
        return f"layers {encoder['layers']} of {encoder['name']}{training}"

    @property
    def taught_by(self) -> str:
        if "parent" in self.record:
            return f"MPL, fine-tuned from `{self.record['parent']['name']}`"
        if not self.record["teacher"]:
            stages = ["MPL"]
            if self.record.get("tuned_encoder"):
                stages.append("then joint training of encoder and network")
            if self.network_last:
                stages.append("then training of the network alone")
            return ", ".join(stages)
        return "distilled from `{name}` (sha256 {sha256:.8})".format(**self.record["teacher"])

    @property
    def network_last(self) -> bool:
        """Whether the network behind the encoder was trained further after the joint training"""
        return bool(self.record.get("tuned_encoder")) and "network" in self.record["minutes"]

    @property
    def took(self) -> str:
        """Total duration in minutes, and duration by stage"""
        minutes: dict[str, float] = self.record["minutes"]
        stages = "; ".join(f"{STAGES.get(stage, stage)} {spent:g}" for stage, spent in minutes.items())
        return f"{sum(minutes.values()):.0f} ({stages})"

    @property
    def data(self) -> str:
        """Number of clips, folders and kinds of degradation of the training"""
        corpus = self.record["config"]["corpus"]
        folders = ", ".join(f"`{folder}`" for kind in ("speech", "noise", "rooms") for folder in corpus[kind])
        words = f"{corpus['train']:,} clips of 3 to 7 s, drawn from {folders}"
        if kinds := self.record["kinds"]:
            words += f", through {len(kinds)} kinds of degradation: {', '.join(kinds)}"
        return words


def text(models: Sequence[ModelRecord], results: Path) -> str:
    """Return the card in Markdown. Raises ModelError for a model whose record has no entries of a training."""
    carded = [_carded(model, results) for model in models]
    peers = _rows(results / "peers.csv")
    suppressed = _rows(results / "witnesses.csv")
    moved = [one for one in carded if one.invariance]
    poor = [_covered(one, row) for one in carded for row in _coverage(one) if _is_poor(row)]
    shares = [one.record["intervals"]["coverage"] for one in carded if _coverage(one)]
    words: str = _template().render(
        models=carded, since=_since(carded), targets=TARGETS, by_key=BY_KEY, poor_coverage=POOR_COVERAGE,
        moved_head=["change of", "to", *(f"`{one.name}` {t.name}" for one in moved for t in QUEST)],
        peers=[f"{name}: LCC" for name in PEERS.values()] if peers else [],
        grid=lambda first, each, others=(): _head(carded, first, each, others),
        teachers=[
            PREDICTORS.get(key, key)
            for key in sorted({k for one in carded for k in _existing_models(one.record["config"]).get("heads", [])})
        ],
        suppressed=_suppressed(carded, suppressed),
        conditions=suppressed[0]["conditions"] if suppressed else 0,
        accuracy=_accuracy(carded), agreement=_agreement(carded, peers),
        coverage=[_covered_row(one, row) for one in carded for row in _coverage(one) if ":" not in row["kind"]],
        share=shares[0] if shares else 0.0, poor=poor,
        invariance=_invariance(moved), recordings=moved[0].invariance[0]["recordings"] if moved else 0,
        failures=[_failure(one, row) for one in carded for row in one.record.get("failures", [])],
        data=_data(carded),
    )  # fmt: skip
    return words


def _existing_models(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of existing models as teachers; records of version 0.1 call it `peers`."""
    found: dict[str, Any] = config.get("existing_models", config.get("peers", {}))
    return found


def _template() -> Any:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise missing_extra("Writing the card", "analysis") from error
    markdown = Environment(  # no HTML: nothing to escape
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    return markdown.get_template("model_card.md.j2")


def _carded(model: ModelRecord, results: Path) -> Carded:
    record = json.loads(model.path.with_suffix(".json").read_text())
    if missing := sorted(NEEDED - set(record)):
        raise ModelError(f"the record of {model.name} lacks {', '.join(missing)}: train it again")
    absent = dict.fromkeys(("teacher", "teacher_lcc_validation", "kinds"))
    name = model.name
    return Carded(
        model,
        {**absent, **record},
        _rows(results / f"{name}.rated.csv"),
        _rows(results / f"{name}.invariance.csv"),
    )


def _since(carded: Sequence[Carded]) -> list[tuple[str, str]]:
    """Return names of teacher and student if the teacher of the student is not the shipped model of that name."""
    here = {one.name: one.model.sha256 for one in carded}
    taught = [(one.record["teacher"], one.name) for one in carded if one.record["teacher"]]
    return [(t["name"], pupil) for t, pupil in taught if here.get(t["name"], t["sha256"]) != t["sha256"]]


def _data(carded: Sequence[Carded]) -> list[tuple[str, str]]:
    """Return names of models and their training data; models with the same data share an entry."""
    names: dict[str, list[str]] = {}
    for one in carded:
        names.setdefault(one.data, []).append(f"`{one.name}`")
    return [(" and ".join(those), words) for words, those in names.items()]


def _rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _head(carded: Sequence[Carded], first: Sequence[str], each: str, others: Sequence[str]) -> str:
    """Return the header of a table with a column for each model."""
    names = [*first, *(f"`{one.name}`: {each}" for one in carded), *others]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def _accuracy(carded: Sequence[Carded]) -> list[list[str]]:
    found = {(f["split"], f["target"]): f["clips"] for one in carded for f in one.record["figures"]}
    return [
        [split, BY_KEY[key].name, str(clips), *(_figure(one, split, key) for one in carded)]
        for (split, key), clips in found.items()
    ]


def _figure(one: Carded, split: str, key: str) -> str:
    for f in one.record["figures"]:
        if (f["split"], f["target"]) == (split, key):
            return f"{f['lcc']:.3f} / {f['srcc']:.3f} / {f['rmse']:.3f}"
    return ""


def _agreement(carded: Sequence[Carded], peers: Sequence[Row]) -> list[list[str]]:
    rows = []
    for folder, (split, name) in RATED.items():
        for target in QUEST:
            ours = [_rated(one, folder, target.key) for one in carded]
            theirs = [_peer(peers, arm, split, target.key) for arm in PEERS] if peers else []
            if any(ours):
                rows.append([name, target.name, *ours, *theirs])
    return rows


def _rated(one: Carded, folder: str, key: str) -> str:
    for row in one.rated:
        if (row["set"], row["target"]) == (folder, key):
            figures = [f"{float(row[name]):.3f}" for name in ("lcc", "srcc", "lcc_cond")]
            return " / ".join([*figures, f"{float(row['rmse']):.2f}"] if row["rmse"] else figures)
    return ""


def _suppressed(carded: Sequence[Carded], rows: Sequence[Row]) -> list[list[str]]:
    """Agreement of each model and of the labels with each predictor: correlation and slope of the improvement."""
    found = {(row["system"], row["target"], row["predictor"]): row for row in rows}
    systems = [*(one.name for one in carded), "labels"]
    return [
        [
            BY_KEY[target].name,
            PREDICTORS[predictor],
            *(_lcc_and_slope(found.get((name, target, predictor))) for name in systems),
        ]
        for target, predictor in dict.fromkeys((row["target"], row["predictor"]) for row in rows)
    ]


def _lcc_and_slope(row: Row | None) -> str:
    return f"{float(row['lcc']):.3f} / {float(row['slope']):.2f}" if row else ""


def _peer(peers: Sequence[Row], arm: str, split: str, key: str) -> str:
    for row in peers:
        if (row["arm"], row["split"], row["target"]) == (arm, split, key):
            return f"{float(row['lcc']):.3f}"
    return ""


def _coverage(one: Carded) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = one.record.get("coverage", [])
    return rows


def _is_poor(row: Mapping[str, Any]) -> bool:
    return ":" in row["kind"] and row["share"] < POOR_COVERAGE


def _covered(one: Carded, row: Mapping[str, Any]) -> str:
    return f"`{one.name}`, {row['kind']}, {BY_KEY[row['target']].name}: {row['share']:.1%} of {row['clips']} clips"


def _covered_row(one: Carded, row: Mapping[str, Any]) -> list[str]:
    return [f"`{one.name}`", row["kind"], BY_KEY[row["target"]].name, f"{row['share']:.1%}", f"{row['width']:.2f}"]


def _invariance(moved: Sequence[Carded]) -> list[list[str]]:
    changes = dict.fromkeys((row["group"], row["change"]) for one in moved for row in one.invariance)
    return [
        [group, change, *(_moved(one, group, change, target.key) for one in moved for target in QUEST)]
        for group, change in changes
    ]


def _moved(one: Carded, group: str, change: str, key: str) -> str:
    for row in one.invariance:
        if (row["group"], row["change"], row["target"]) == (group, change, key):
            return f"{float(row['mean_abs']):.2f} / {float(row['worst']):.2f}"
    return ""


def _failure(one: Carded, row: Mapping[str, Any]) -> list[str]:
    where = f"{row['split']} {row['clip']}"
    steps = ", ".join(row["steps"])
    return [
        f"`{one.name}`",
        BY_KEY[row["target"]].name,
        where,
        steps,
        f"{row['label']:.2f}",
        f"{row['score']:.2f}",
    ]


def main(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="Shipped models, or paths of .onnx files.")],
    results: Annotated[Path, typer.Option(help="Folder of result files.")] = Path("docs/results/card"),
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Markdown file to write.")] = None,
) -> None:
    """Write the model card."""
    with reported_errors():
        words = text([shipped.find(name) for name in models], results)
        if output is None:
            print(words, end="")
        else:
            output.write_text(words, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
