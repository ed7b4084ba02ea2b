"""`mtqnet card`: MODEL_CARD.md from the record of a model and a table of its scores on rated sets.

Every figure of the model's comes from a file that a command wrote. The words on data and limits are those of the
shipped models.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtqnet.errors import ModelError
from mtqnet.scoring.models import ModelRecord
from mtqnet.targets import BY_KEY, TARGETS

Record = dict[str, Any]

NEEDED = frozenset(
    ("parameters", "config", "seed", "minutes", "labels", "figures", "teacher_lcc_validation", "parity")
)
"""What training writes into a record beyond what scoring reads"""


def text(model: ModelRecord, rated: Path | None) -> str:
    """The card in Markdown. `rated` is what `tools/rated_sets.py check --csv` wrote."""
    record: Record = json.loads(model.path.with_suffix(".json").read_text())
    if missing := sorted(NEEDED - set(record)):
        raise ModelError(f"the record of {model.name} lacks {', '.join(missing)}: train it anew")
    parts = [_head(record), _scores(), _labels(record), _accuracy(record)]
    if rated is not None:
        with rated.open(newline="") as stream:
            parts.append(_rated(list(csv.DictReader(stream))))
    parts += [_data(record), _limits()]
    return "\n".join(parts)


def _head(record: Record) -> str:
    took = _took(record)
    return f"""# Model card: `{record["name"]}`

Written by `mtqnet card`; edit the code, not this page.

- MTQ-Net (Zezario et al., ICASSP 2024) with {record["parameters"]:,} trained parameters, behind frozen layers
  {record["config"]["encoder"]["layers"]} of {record["config"]["encoder"]["name"]}
- trained by multi-task pseudo-label learning: MOSA-Net, taught true PESQ, STOI and SDI, gave pseudo labels
- {took}
- sha256 of the ONNX file: `{record["sha256"]}`
- largest difference from torch at export: {max(record["parity"].values()):.1e}
- licence: {record["licence"]}
"""


def _took(record: Record) -> str:
    """Minutes in all and by stage, on two cores, and the seed."""
    minutes: dict[str, float] = record.get("minutes", {})
    stages = ", ".join(f"{stage} {spent:g}" for stage, spent in minutes.items())
    return f"seed {record['seed']}, {sum(minutes.values()):.0f} minutes on two cores ({stages})"


def _scores() -> str:
    rows = [
        f"| `{t.key}` | {t.name} | {t.low:g} to {t.high:g} | {'higher' if t.higher_is_better else 'lower'} | "
        f"{t.says} | {t.standard} |"
        for t in TARGETS
    ]
    return _table("## What it says", "column | name | range | better | meaning | standard", rows)


def _labels(record: Record) -> str:
    return f"""## What the labels are, and what they are not

{record["labels"]}.

The licensed 3QUEST instrument was not used, and no score of this model is a 3QUEST score. `pesq_est`, `stoi_est`
and `sdi_est` are estimates of what PESQ (P.862.2, package `pesq` 0.0.4), STOI and SDI would say with a clean
reference. SDI is taken after the level of the speech was aligned; its figures are of log10.
"""


def _accuracy(record: Record) -> str:
    rows = [
        f"| {f['split']} | {BY_KEY[f['target']].name} | {f['clips']} | {f['lcc']:.3f} | {f['srcc']:.3f} | "
        f"{f['rmse']:.3f} |"
        for f in record.get("figures", [])
    ]
    teacher = ", ".join(f"{BY_KEY[k].name} {v:.3f}" for k, v in record["teacher_lcc_validation"].items())
    title = "## Accuracy on clips of unseen speakers and unseen noise files, per clip"
    return _table(title, "split | score | clips | LCC | SRCC | RMSE", rows) + (
        f"\nThe teacher, MOSA-Net, on the validation clips (LCC): {teacher}.\n"
        "The kinds of processing are the same as in training; on other kinds expect less.\n"
    )


def _rated(rows: Sequence[dict[str, str]]) -> str:
    lines = [
        f"| {r['set']} | {BY_KEY[r['target']].name} | {r['clips']} | {float(r['lcc']):.3f} | "
        f"{float(r['srcc']):.3f} | {float(r['lcc_cond']):.3f} | {_decimals(r['rmse'])} |"
        for r in rows
    ]
    title = "## Agreement with listeners"
    return _table(title, "rated set | score | clips | LCC | SRCC | LCC per condition | RMSE", lines) + (
        "\nP.835 ratings of the talkers at hand (about 7 votes a file on CSP835: the votes' own spread limits\n"
        "LCC to about 0.90, 0.93, 0.92). NOIZEUS ratings are per condition. MUSHRA ratings are compared by\n"
        "rank only. The labeller's curves were fitted to the ratings of the CSP835 talkers in this\n"
        "table; the network never saw the clips, nor the ratings of the other two sets. CSP835's sentences\n"
        "are from VoiceBank, as two of the training talkers are.\n"
    )


def _decimals(number: str) -> str:
    """Two decimals; nothing where there is no number."""
    return f"{float(number):.2f}" if number else ""


def _data(record: Record) -> str:
    sources = record["config"]["corpus"]
    folders = ", ".join(f"`{f}`" for kind in ("speech", "noise", "rooms") for f in sources[kind])
    return f"""## Training data

{sources["train"]:,} clips of 3 to 7 s, drawn from {folders}:
LibriSpeech (CC BY 4.0), Asterisk core sounds
(CC BY-SA 3.0, CC BY 3.0), VoiceBank (CC BY 4.0), noise recordings and room responses under mixed open
licences. Degraded by rooms, noise, MNRU, a spectral-gain noise reducer, band limits, clipping, frame loss
and level. Split by speaker and by noise file.
"""


def _limits() -> str:
    return """## Known limits

- Codecs, neural noise reducers and loss concealment were not in the corpus: coding artefacts are hardly
  seen.
- English read speech dominates; four further languages have one or two voices each.
- Speech at 16 kHz: what lies above 8 kHz is not heard. Music and noise without speech get scores that mean
  nothing.
- A synthetic voice is marked down even when it is clean: training speech was natural.
- Frame scores follow the whole window and hardly show where in it a fault is. Long pauses inside a window of
  10 s raise N-MOS.
- Scores carry no interval yet.
"""


def _table(title: str, head: str, rows: Sequence[str]) -> str:
    rule = "|".join("---" for _ in head.split("|"))
    return "\n".join([title, "", f"| {head} |", f"|{rule}|", *rows, ""])
