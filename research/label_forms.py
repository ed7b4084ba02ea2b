"""Compare forms of the S-MOS and N-MOS labels on ratings and, after noise suppression, with DNSMOS.

    python -m research.label_forms --data DATA --work FOLDER --peers PYTHON --pairs 4

The suppressor conditions are those of research/witnesses.py, from speakers and noises of the validation split, so
that the benchmark on the test split has no part in the choice. Every form is fitted to the rated reference
conditions (CSP835); its error there is of each speaker by curves fitted to the others.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import NOMINAL_DBOV
from mtqnet.audio.reading import Excerpt, read
from mtqnet.corpus import ensemble
from mtqnet.labels.background import MAX_SNR_DB, PAUSE_WEIGHT, background, pause_levels
from mtqnet.labels.intrusive import pesq_wb
from mtqnet.labels.pairing import align
from mtqnet.labels.speech import MISSING_WEIGHT, Curves, Looks, coherence, curves, envelope_distance, equivalent_q
from mtqnet.labels.three_signal import noise_mos, speech_mos
from mtqnet.targets import BY_KEY
from research import witnesses
from research.labeller import fit
from research.labeller.rated import Rated, agreement, left_out, read_rated

Samples = NDArray[np.float32]
Array = NDArray[np.float64]
Row = dict[str, float]
CODECS = (
    ("MUSHRA", "mushra_neural_codec", "mushra_mean", ""),
    ("Opus", "mos_opus_conditions", "mos_condition_mean", "vb_"),
)
"""Name, folder, column of the rating and prefix of the clips that are used"""


@dataclass(frozen=True)
class SpeechForm:
    """How the equivalent Q is computed."""

    name: str
    envelope: str
    """Measure of the envelope distance, by the weight of missing energy: `full`, `half` or `chosen`"""
    kept: float
    """Coherence at which PESQ fully counts"""


SPEECH_FORMS = (
    SpeechForm("missing energy in full, PESQ from a coherence of 0.6 (before)", "full", 0.6),
    SpeechForm("missing energy in full, PESQ from 0.4", "full", 0.4),
    SpeechForm(f"missing energy {MISSING_WEIGHT}, PESQ from 0.6", "chosen", 0.6),
    SpeechForm(f"missing energy {MISSING_WEIGHT}, PESQ from 0.4 (chosen)", "chosen", 0.4),
    SpeechForm("missing energy 0.5, PESQ from 0.4", "half", 0.4),
)
CHOSEN_FORM = SPEECH_FORMS[3]
NOISE_FORMS: Mapping[str, Callable[[Row, float], float]] = {
    "median": lambda row, weight: _mixed(row, weight, row["median_db"]),
    "mean power": lambda row, weight: _mixed(row, weight, row["mean_db"]),
    "median and mean power": lambda row, weight: _mixed(row, weight, (row["mean_db"] + row["median_db"]) / 2),
}
PAUSE_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def _mixed(row: Row, weight: float, pause_db: float) -> float:
    """SNR in dB with this level in the pauses and its weight."""
    snr = (1 - weight) * row["audible_db"] + weight * min(MAX_SNR_DB, NOMINAL_DBOV - pause_db)
    return min(MAX_SNR_DB, -10 * float(np.log10(10 ** (-snr / 10) + 10 ** (-row["own_db"] / 10))))


def measured(clean: Samples, speech: Samples, noise: Samples | None) -> Row:
    """All measures of one clip; of coded speech (no noise) those of the speech."""
    row = {
        "pesq": pesq_wb(clean, speech),
        "full": envelope_distance(clean, speech, 1.0),
        "half": envelope_distance(clean, speech, 0.5),
        "chosen": envelope_distance(clean, speech),
        "kept": coherence(clean, speech),
    }
    if noise is None:
        return row
    found = background(clean, speech, noise)
    mean_db, median_db = pause_levels(clean, speech, noise)
    return row | {
        "audible_db": found.audible_db, "own_db": found.own_db, "mean_db": mean_db, "median_db": median_db,
    }  # fmt: skip


def equivalent(rows: Sequence[Row], form: SpeechForm, scales: Mapping[str, Curves]) -> Array:
    """(clips,) equivalent Q in dB."""
    looks = [Looks(row["pesq"], row[form.envelope], row["kept"]) for row in rows]
    return np.array([equivalent_q(one, scales[form.envelope], form.kept) for one in looks])


def halved(full: Curves, chosen: Curves) -> Curves:
    """Curves for missing energy with half the weight, on the line through the two fitted ones.

    The distance is linear in the weight, except where a band meets its limit of 6 dB.
    """
    step = (0.5 - MISSING_WEIGHT) / (1.0 - MISSING_WEIGHT)
    pairs = zip(full.envelope_at_q, chosen.envelope_at_q, strict=True)
    return replace(chosen, envelope_at_q=tuple(c + step * (f - c) for f, c in pairs))


def kept_rows(path: Path, make: Callable[[], list[Row]]) -> list[Row]:
    """Measures from a file, or measured and stored there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(make()))
    rows: list[Row] = json.loads(path.read_text())
    return rows


def coded(
    folder: Path, column: str, name: str, prefix: str, work: Path
) -> tuple[str, list[Row], Array, list[str]]:
    """Name, measures, ratings and conditions of coded speech; of the clips whose names begin with `prefix`."""
    with (folder / "labels.csv").open(newline="") as stream:
        table = [row for row in csv.DictReader(stream) if row.get("clip", "").startswith(prefix)]

    def measure() -> list[Row]:
        pairs = (align(*(read(folder / row[key]).samples for key in ("clean_ref", "file"))) for row in table)
        return [measured(clean, processed, None) for clean, processed in pairs]

    rows = kept_rows(work / f"{folder.name}.json", measure)
    return name, rows, np.array([float(row[column]) for row in table]), [row["condition"] for row in table]


def rank(values: Array, ratings: Array, conditions: Sequence[str]) -> float:
    """Spearman correlation over the means of conditions."""
    from scipy.stats import spearmanr

    names = np.array(conditions)
    pairs = [(values[names == name].mean(), ratings[names == name].mean()) for name in sorted(set(conditions))]
    return float(spearmanr(*np.array(pairs).T).statistic)


HEAD = """# The form of the labels, and the label ensemble

Written by `python -m research.label_forms --data DATA --pairs {pairs}` and `python -m research.fit_ensemble`.

The labels are 3QUEST-style, anchored on public P.835 ratings; they are not scores of the licensed 3QUEST instrument.
DNSMOS and Distill-MOS are predictors that were trained on human ratings, not listeners.

## The three-signal labeller

*CSP835, error*: root mean square over the 13 rated conditions, in MOS, each talker by curves fitted to the others.
*Rank*: Spearman correlation of the equivalent Q over conditions with the ratings of neural codecs (MUSHRA) and of
Opus with and without LACE and NoLACE. *SIG*, *BAK*: correlation with DNSMOS over the conditions of
[witnesses](witnesses.md), but from {pairs} speakers and noises of the validation split ({clips} clips). *Slope*:
improvement of N-MOS by the suppressors relative to that of BAK.

The equivalent Q of S-MOS is the mean of PESQ and of the distance of the slow spectral envelopes. Energy that is missing
counts {missing} times energy that was added: a noise suppressor empties weak bands, which listeners hardly notice. A
smaller weight agrees better with the predictors after suppression, but no longer ranks neural codecs as listeners do.
PESQ counts where the waveform is kept, from a coherence of 0.4 on. Only the noise at the time of the speech hides its
distortion, so S-MOS uses the SNR without the pauses.

"""
NOISE_TEXT = """
N-MOS is the mean, in dB, of two levels of the noise component below the active speech level: over the whole
recording, less what the speech masks, and in the speech pauses. The level in the pauses has a weight of {weight}.
It is the mean of the median level and the level of the mean power: the second is higher for bursts, pumping and
musical noise. The curves were fitted to the rated conditions alone, and no absolute value of BAK was used. Of the
forms with a slope of 0.6 to 0.9 the chosen one has the highest correlation of those that include bursts.

"""
ENSEMBLE_TEXT = """
## The label ensemble

Each source has a straight line to the scale of the label and a weight, for each label and kind of processing
(`corpus/ensemble.py`). The label of a clip is the weighted mean of the sources, averaged over the kinds of the clip;
where a suppressor is in the chain, the kind "background noise" is omitted. The standard deviation of the sources
is the disagreement, a column of the corpus. A clip with the disagreement d has the weight 1 / (1 + (d /
{tolerance} MOS)^2) in the loss.

- *Ratings exist* (background noise, modulated noise, codec, neural codec). The weight is r^2 / (1 - r^2), normalised; r
  is the correlation with the ratings over clips (on CSP835 the root of the coefficient of determination, talkers left
  out). Then all but a *share* of the weight goes to the labeller. The share is the largest at which the ensemble is
  as good as the labeller over the means of the conditions: on CSP835 an error at most 0.015 MOS larger, with each
  talker by lines and curves of the other talkers; on NOIZEUS, MUSHRA and Opus no lower rank correlation. The lines are
  least squares on CSP835; for codecs, whose ratings have other scales, each source gets the mean and deviation of the
  labeller.
- *Suppression* (no public ratings). The lines are those of background noise, since residual noise remains. The
  weights, in steps of 0.1, have the highest least correlation with the predictors of the same quality over the
  suppressor conditions of the validation split: S with SIG (at 7 and 15 dB), N with BAK, G with OVRL, P.808 and
  Distill-MOS. The labeller keeps at least 0.1 (N: 0.5).
- *Other kinds.* r is the correlation with the mean of the sources of other families (labeller, DNSMOS, Distill-MOS).
  The labeller keeps at least 0.5 of S, because P.808 and Distill-MOS rate the whole recording, and 0.8 of N, because
  BAK falls with distortion of the speech more than ratings do (modulated noise: r 0.36, labeller 0.87).

A table cell is the weight, in brackets r. For suppression it is the least correlation that the source alone would have.
Fitted on {clips} clips, seed {seed}, {date}: `{command}`.

"""


def speech_table(
    rated: Rated, csp: Sequence[Row], suppressed: Sequence[Row], cases: Sequence[witnesses.Case], sig: Array,
    of_codecs: Sequence[tuple[str, Sequence[Row], Array, Sequence[str]]], scales: Mapping[str, Curves],
) -> list[str]:  # fmt: skip
    """Forms of S-MOS."""
    names = " | ".join(f"{name}, rank" for name, *_ in of_codecs)
    lines = [
        f"| S-MOS | CSP835, error | {names} | SIG, all | SIG, 7 and 15 dB |",
        "|---" * (4 + len(of_codecs)) + "|",
    ]
    masking = np.array([_mixed(row, 0.0, 0.0) for row in csp])
    snr = np.array([_mixed(row, 0.0, 0.0) for row in suppressed])
    for form in SPEECH_FORMS:
        q = equivalent(csp, form, scales)

        def others(train: NDArray[np.bool_], q: Array = q) -> Array:
            return speech_mos(q, masking, fit.fit_speech(q[train], masking[train], rated.sig[train]))

        error = agreement(rated, np.clip(left_out(rated, others), 1, 5), rated.sig).error
        s = speech_mos(equivalent(suppressed, form, scales), snr, fit.fit_speech(q, masking, rated.sig))
        agreed = witnesses.agreement("", "s_mos", "dnsmos_sig", cases, np.clip(s, 1, 5), sig)
        ranks = [rank(equivalent(rows, form, scales), ratings, of) for _, rows, ratings, of in of_codecs]
        lines.append(_line(form.name, error, *ranks, agreed.lcc, agreed.lcc_middle))
    return lines


def noise_table(
    rated: Rated, csp: Sequence[Row], suppressed: Sequence[Row], cases: Sequence[witnesses.Case], bak: Array,
    scales: Mapping[str, Curves],
) -> list[str]:  # fmt: skip
    """Forms of N-MOS."""
    lines = [
        "| level in the pauses | weight | CSP835, error | BAK, conditions | BAK, clips | slope |",
        "|---" * 6 + "|",
    ]
    q, of_clips = (equivalent(rows, CHOSEN_FORM, scales) for rows in (csp, suppressed))
    for name, snr_of in NOISE_FORMS.items():
        for weight in PAUSE_WEIGHTS[0 if name == "median" else 1 :]:
            snr = np.array([snr_of(row, weight) for row in csp])

            def others(train: NDArray[np.bool_], snr: Array = snr) -> Array:
                return noise_mos(q, snr, fit.fit_noise(q[train], snr[train], rated.bak[train]))

            error = agreement(rated, np.clip(left_out(rated, others), 1, 5), rated.bak).error
            n = noise_mos(
                of_clips, np.array([snr_of(row, weight) for row in suppressed]), fit.fit_noise(q, snr, rated.bak)
            )
            agreed = witnesses.agreement("", "n_mos", "dnsmos_bak", cases, np.clip(n, 1, 5), bak)
            lines.append(_line(f"{name} | {weight}", error, agreed.lcc, agreed.lcc_clip, agreed.slope))
    return lines


def ensemble_section() -> str:
    """Rule, weights and agreement of the label ensemble that ships with the package."""
    record = json.loads(ensemble.WEIGHTS.read_text(encoding="utf-8"))
    parts = [
        ENSEMBLE_TEXT.format(
            tolerance=ensemble.TOLERANCE_MOS, **{k: record[k] for k in ("clips", "seed", "date", "command")}
        )
    ]
    for target, stored in record["labels"].items():
        keys = ensemble.SOURCES[target]
        names = ["labeller", *(witnesses.PREDICTORS[key] for key in keys[1:])]
        parts += [
            f"| {BY_KEY[target].name} | " + " | ".join(f"{name}: weight (r)" for name in names) + " | from |"
        ]
        parts += ["|---" * (2 + len(keys)) + "|"]
        for kind, mix in stored.items():
            cells = [f"{mix['weights'][key]:.2f} ({mix['agreement'][key]:.2f})" for key in keys]
            parts.append("| " + " | ".join((kind, *cells, mix["basis"])) + " |")
        parts.append("")
    return "\n".join(parts)


def _line(name: str, *values: float) -> str:
    return "| " + " | ".join((name, *(f"{value:.3f}" for value in values))) + " |"


def main() -> None:
    """Measure what is missing and write the page."""
    options = _options()
    data, work = options.data, options.work
    before = json.loads(witnesses.BEFORE.read_text())["curves"]
    scales = {"chosen": curves(), "full": Curves(**{key: tuple(value) for key, value in before.items()})}
    scales["half"] = halved(scales["full"], scales["chosen"])
    rated = read_rated(data / "p835_csp835_refconditions", seed=0)
    cases = [
        case for case in witnesses.cases(data, work / "validation", "validation") if case.number < options.pairs
    ]
    witnesses.build(cases)
    files = [Excerpt(case.processed) for case in cases]
    predicted = ensemble.score(options.peers, files, work / "peers", "forms", 1, lambda *_: None)
    csp = kept_rows(work / "csp.json", lambda: [measured(c.clean, c.speech, c.noise) for c in rated.heard])
    tracks = (case.tracks() for case in cases)
    suppressed = kept_rows(
        work / f"validation-{options.pairs}.json", lambda: [measured(t.clean, t.speech, t.noise) for t in tracks]
    )
    of_codecs = [coded(data / folder, column, name, prefix, work) for name, folder, column, prefix in CODECS]
    lines = [HEAD.format(pairs=options.pairs, clips=len(cases), missing=MISSING_WEIGHT)]
    lines += speech_table(rated, csp, suppressed, cases, predicted["dnsmos_sig"], of_codecs, scales)
    lines.append(NOISE_TEXT.format(weight=PAUSE_WEIGHT))
    lines += noise_table(rated, csp, suppressed, cases, predicted["dnsmos_bak"], scales)
    options.output.write_text("\n".join((*lines, ensemble_section())), encoding="utf-8")
    print(options.output)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the rated sets, speech and noise")
    parser.add_argument("--work", type=Path, default=Path("runs/forms"), help="folder for clips and measures")
    parser.add_argument("--peers", type=Path, default=ensemble.PYTHON, help="Python with the predictors")
    parser.add_argument("--pairs", type=int, default=4, help="pairs of speech and noise of each condition")
    parser.add_argument("--output", type=Path, default=Path("docs/results/label_forms.md"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
