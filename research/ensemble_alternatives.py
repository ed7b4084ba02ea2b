"""Compare the label ensemble with alternatives: docs/results/label_ensemble.md.

    python -m research.ensemble_alternatives --data DATA --peers PYTHON --corpus CORPUS

On ratings each speaker of CSP835 has labels by curves and lines of the other speakers. The suppressor conditions are
those of research/witnesses.py from the test split, which has no part in the fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.reading import Excerpt
from mtqnet.corpus import ensemble
from mtqnet.corpus.degradations import KINDS, SUPPRESSION
from mtqnet.corpus.ensemble import SOURCES, Columns, Label, Mix, combine, labels
from research import fit_ensemble, witnesses
from research.fit_ensemble import UNCHANGED, Pool, Rated

CLIPS = 3
"""Clips of each suppressor condition"""
OUTPUT = Path("docs/results/label_ensemble.md")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tested:
    """What the alternatives are compared on."""

    sets: Sequence[Rated]
    cases: Sequence[witnesses.Case]
    sources: Columns
    """Of the cases"""


def alternatives(sets: Sequence[Rated], pool: Pool) -> dict[str, dict[str, Label]]:
    """Name -> ensemble of each label."""
    chosen = labels()
    by_agreement: dict[str, Label] = {
        target: {kind: Mix(one.lines, one.weights) for kind, one in of.items()}
        for target, of in fit_ensemble.fit(sets, pool, shares=(1.0,)).items()
    }
    return {
        "chosen": chosen,
        "labeller alone": {target: dict.fromkeys(KINDS, _labeller(target)) for target in SOURCES},
        "weights by agreement, none moved to the labeller": by_agreement,
        "after suppression each family with the same weight": {
            target: {**label, SUPPRESSION: Mix(label[SUPPRESSION].lines, _equal(target))}
            for target, label in chosen.items()
        },
        "after suppression lines to the labeller's mean and deviation": {
            target: {**label, SUPPRESSION: Mix(pool.lines(target), label[SUPPRESSION].weights)}
            for target, label in chosen.items()
        },
    }


def _labeller(target: str) -> Mix:
    keys = SOURCES[target]
    return Mix(dict.fromkeys(keys, UNCHANGED), {key: float(key == target) for key in keys})


def _equal(target: str) -> dict[str, float]:
    """The labeller, DNSMOS and Distill-MOS with the same weight."""
    families = [fit_ensemble.FAMILY.get(key, key) for key in SOURCES[target]]
    return {
        key: 1 / len(set(families)) / families.count(family)
        for key, family in zip(SOURCES[target], families, strict=True)
    }


def row(mixes: Mapping[str, Label], tested: Tested) -> list[float]:
    """The figures of one line of the table."""
    kinds = [witnesses.kinds(case) for case in tested.cases]
    made = {target: combine(target, tested.sources, kinds, label).values for target, label in mixes.items()}
    found = {
        predictor: witnesses.agreement(
            "", target, predictor, tested.cases, made[target], tested.sources[predictor]
        )
        for target, predictor in witnesses.PAIRS
    }
    bak = found["dnsmos_bak"]
    suppressed = [found["dnsmos_sig"].lcc_middle, bak.lcc, bak.slope]
    suppressed += [found[key].lcc for key in ("dnsmos_ovrl", "dnsmos_p808", "distillmos")]
    mos = next(one for one in tested.sets if one.talkers)
    errors = [left_out_error(mos, target, label) for target, label in mixes.items()]
    return [*suppressed, *errors, *(rank(one, mixes["g_mos"]) for one in tested.sets[2:])]


def left_out_error(one: Rated, target: str, label: Label) -> float:
    """Error over conditions, each speaker by curves and lines of the others."""
    values = []
    for kind in one.kind:
        scaled = fit_ensemble.left_out_sources(one, target, kind, {})
        values.append(np.sum([weight * scaled[key] for key, weight in label[kind].weights.items()], axis=0))
    every = np.ones(len(one.conditions), dtype=bool)
    difference = one.over_conditions(np.mean(values, axis=0) - one.ratings[target], every)
    return float(np.sqrt(np.mean(difference**2)))


def rank(one: Rated, label: Label) -> float:
    """Rank correlation of G over conditions."""
    made = combine("g_mos", one.sources, [one.kind] * len(one.conditions), label).values
    every = np.ones(len(one.conditions), dtype=bool)
    means = (one.over_conditions(values, every) for values in (made, one.ratings["g_mos"]))
    return fit_ensemble.rank(*means)


HEAD = """# Alternatives to the label ensemble

Written by `python -m research.ensemble_alternatives`.

After suppression: correlation with the predictors over the 40 conditions of [witnesses](witnesses.md), {clips} clips
each, from the test split; the weights were chosen on the validation split. *Slope* is the improvement of N by the
suppressors relative to that of BAK. The predictors are sources of the ensemble, so that the agreement with them is not
independent evidence; the ratings are. CSP835: error over 13 conditions in MOS, each talker by curves and lines of the
others. MUSHRA and Opus: rank correlation of G over conditions. Rule and weights: [label forms](label_forms.md).

| ensemble | S: SIG, 7 and 15 dB | N: BAK | slope | G: OVRL | P.808 | Distill-MOS | CSP835 S | N | G | MUSHRA | Opus |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def write(found: Mapping[str, Mapping[str, Label]], tested: Tested, path: Path) -> None:
    """Write the page."""
    lines = []
    for name, mixes in found.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row(mixes, tested)) + " |")
    path.write_text(HEAD.format(clips=len({case.number for case in tested.cases})) + "\n".join(lines) + "\n")
    print(path)


def main() -> None:
    """Fit the alternatives and compare them."""
    options = fit_ensemble.command_line()
    sets, pool = fit_ensemble.collected(options)
    cases = [case for case in witnesses.cases(options.data, options.work / "test") if case.number < CLIPS]
    witnesses.build(cases)
    clips = [Excerpt(case.processed) for case in cases]
    scores = ensemble.score(
        options.peers, clips, options.work / "peers", "alternatives", options.jobs, lambda *_: None
    )
    sources = {**witnesses.labelled(cases, witnesses.labels_now), **scores}
    write(alternatives(sets, pool), Tested(sets, cases, sources), OUTPUT)


if __name__ == "__main__":
    main()
