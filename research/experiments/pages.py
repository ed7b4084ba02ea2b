"""The page of a table in Markdown, written from its figures alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtqnet.evaluation.seeds import Difference
from mtqnet.targets import BY_KEY, OBJECTIVE, QUEST
from research.experiments.material import RATED
from research.experiments.schedule import PEER_CLIPS
from research.experiments.study import PEERS, Table
from research.experiments.summary import MEAN, ArmRow, RunRow, Summary

SAYS = {
    "validation": "validation",
    "test": "unseen speakers and noises",
    "unseen": "unseen processing",
    "csp835": "CSP835, rated",
    "noizeus": "NOIZEUS 8 kHz, rated",
    "mushra": "neural codecs, MUSHRA",
}
"""What readers call a split"""
MINUS = "\u2212"


@dataclass(frozen=True)
class Facts:
    """What a reader must know to weigh the figures."""

    clips: dict[str, int]
    """By split"""
    seeds: int
    core_minutes: float
    command: str
    date: str
    version: str


def page(table: Table, summary: Summary, facts: Facts) -> str:
    """The whole page."""
    parts = [_head(table, facts), _means(table, summary), _per_target(table, summary)]
    if any(summary.over_seeds(arm, "test", t.key) for arm in table.arms for t in OBJECTIVE):
        parts.append(_objective(table, summary))
    return "\n".join(parts)


def _head(table: Table, facts: Facts) -> str:
    arms = "\n".join(f"- **{name}**: {arm.says}" for name, arm in table.arms.items())
    clips = ", ".join(f"{SAYS.get(split, split)} {count:,}" for split, count in facts.clips.items())
    return f"""# {table.title}

{table.question}

Written by `{facts.command}`; edit the code, not this page.

- {facts.seeds} seeds. The seed determines the initial weights, the order of the clips and, if only some clips have
  labels, which ones. Means with 95 % intervals, which account for the seed and for the choice of test clips
  (src/mtqnet/evaluation/seeds.py).
- clips: {clips}
- labels: 3QUEST-style, anchored on public P.835 ratings; on the rated sets: listeners' votes
- best epoch by S-, N- and G-MOS of the validation clips
- {facts.core_minutes:.0f} minutes of one core for the runs of this table, without features and existing predictors;
  {facts.date}, mtqnet {facts.version}

## Conditions

{arms}

![Mean LCC and its difference]({table.name}.svg)

![Scores against truth]({table.name}_scatter.png)
"""


def _means(table: Table, summary: Summary) -> str:
    splits = ("validation", "test", "unseen", "csp835", "noizeus")
    head = ["condition", *(SAYS[split] for split in splits)]
    rows = []
    for arm in table.arms:
        cells = [summary.arm(arm, split, MEAN) for split in splits]
        if any(cells):
            rows.append([arm, *(_with_interval(cell) for cell in cells)])
    lines = ["## Mean LCC over S-, N- and G-MOS", "", *_table(head, rows), ""]
    head = ["condition", "minus", *(f"{SAYS[split]}: difference, 95 %, p" for split in splits)]
    rows = []
    for arm in table.arms:
        found = [summary.arm(arm, split, MEAN) for split in splits]
        for other in table.against(arm):
            if any(cell is not None and other in cell.less for cell in found):
                rows.append([arm, other, *(_less(cell, other) for cell in found)])
    lines += ["Differences on the same clips, seed by seed; p is not corrected for the number of comparisons.", ""]
    return "\n".join([*lines, *_table(head, rows), ""])


def _per_target(table: Table, summary: Summary) -> str:
    lines = ["## By target", "", "LCC with its 95 % interval / SRCC / MSE in MOS squared, means over seeds.", ""]
    for split in ("test", "unseen", *RATED):
        targets = [t for t in QUEST if any(summary.arm(arm, split, t.key) for arm in table.arms)]
        head = ["condition", *(t.name for t in targets)]
        rows = [
            [arm, *(_full(summary.arm(arm, split, t.key), summary.over_seeds(arm, split, t.key)) for t in targets)]
            for arm in table.arms
            if any(summary.arm(arm, split, t.key) for t in targets)
        ]
        lines += [f"### {SAYS[split][0].upper()}{SAYS[split][1:]}", "", *_table(head, rows), ""]
    if any(arm.kind in PEERS for arm in table.arms.values()):
        lines += [
            f"{MINUS}: the model has no such score. Peers are single models: their intervals are of the draw of "
            "clips alone, and they were trained for other scales, so their MSE says little. They scored "
            f"the first {PEER_CLIPS} clips of each test.",
            "",
        ]
    lines += ["MUSHRA ratings run from 0 to 100: no MSE.", ""]
    return "\n".join(lines)


def _objective(table: Table, summary: Summary) -> str:
    lines = [
        "## PESQ, STOI and SDI",
        "",
        "LCC with its 95 % interval / SRCC / MSE (SDI: of log10), means over seeds. `teacher` is MOSA-Net, whose "
        "scores are the pseudo labels.",
        "",
    ]
    for split in ("validation", "test", "unseen"):
        rows = [
            [
                arm,
                *(_full(summary.arm(arm, split, t.key), summary.over_seeds(arm, split, t.key)) for t in OBJECTIVE),
            ]
            for arm in table.arms
            if summary.arm(arm, split, OBJECTIVE[0].key)
        ]
        names = [BY_KEY[t.key].name.split()[0] for t in OBJECTIVE]
        lines += [f"### {SAYS[split][0].upper()}{SAYS[split][1:]}", "", *_table(["arm", *names], rows), ""]
    return "\n".join(lines)


def _with_interval(row: ArmRow | None) -> str:
    return MINUS if row is None else f"{row.lcc.mean:.3f} ± {row.lcc.half:.3f}"


def _less(row: ArmRow | None, other: str) -> str:
    less = row.less.get(other) if row is not None else None
    if less is None:
        return MINUS
    return _bold(less, f"{signed(less.mean)} [{signed(less.low)}, {signed(less.high)}] {_p(less)}")


def _bold(less: Difference, text: str) -> str:
    """Bold where the interval leaves out zero."""
    return f"**{text}**" if less.low > 0 or less.high < 0 else text


def _p(less: Difference) -> str:
    return "p < 0.001" if less.p < 0.001 else f"p = {less.p:.3f}"


def signed(value: float) -> str:
    """+0.012, with a real minus."""
    return f"{value:+.3f}".replace("-", MINUS)


def _full(row: ArmRow | None, runs: Sequence[RunRow]) -> str:
    if row is None or not runs:
        return MINUS
    srcc = float(np.mean([run.srcc for run in runs]))
    errors = [run.mse for run in runs if run.mse is not None]
    mse = f" / {float(np.mean(errors)):.3f}" if errors else ""
    return f"{_with_interval(row)} / {srcc:.3f}{mse}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
