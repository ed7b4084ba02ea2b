"""Compare labels and models with independent predictors on noise suppressors: `make witnesses`.

Each of ten speakers is mixed with one of ten noises that no training clip contains, at four SNRs. Each mixture is
kept as it is and processed by nine noise suppressors at full strength: 40 conditions of ten clips. The predictors
are DNSMOS P.835 (SIG, BAK, OVRL), DNSMOS P.808 and Distill-MOS. They were trained on human ratings, but they are
predictors, not listeners.

    python research/witnesses.py --data DATA --work FOLDER --peers PYTHON --output docs/results
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.level import nominal_gain
from mtqnet.audio.reading import Excerpt, read
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus import ensemble
from mtqnet.corpus.degradations import STEPS, kinds_of
from mtqnet.corpus.degradations.noise import RecordedNoise
from mtqnet.corpus.degradations.step import Tracks, start
from mtqnet.corpus.ensemble import ensemble_labels
from mtqnet.corpus.sources import Item, Split, of_split, scan
from mtqnet.labels.background import background
from mtqnet.labels.intrusive import pesq_wb
from mtqnet.labels.speech import Curves, Looks, coherence, envelope_distance, equivalent_q
from mtqnet.labels.three_signal import Quest, label, quest
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import BY_KEY, QUEST

SPEECH, NOISE = "speech_librispeech/train-clean-100", "noise_mixed_cc"
SNRS_DB = (0, 7, 15, 25)
CLIPS = 10
"""Clips of each condition: one speaker and one noise each"""
SECONDS = 5.0
SPLIT_SEED = 0
"""Seed of the split by speaker and noise file of every shipped configuration"""
MIN_NOISE_S = 3.0
"""Seconds; shorter noise files are single events."""

SUPPRESSORS: Mapping[str, tuple[str, dict[str, float | int | bool]]] = {
    "none": ("", {}),
    "NoiseReduce": ("NoiseReduce", {"share": 1.0, "stationary": False}),
    "WebRTC": ("WebRtc", {"level": 4, "auto_gain": 0, "passes": 1}),
    "SpeexDSP": ("SpeexDsp", {"suppress_db": -40, "passes": 1}),
    "logMMSE": ("LogMmse", {"over": 1.5, "floor_db": -30.0, "smoothing": 0.98}),
    "Wiener": ("SpectralGain", {"over": 1.5, "floor_db": -30.0, "sharpness": 1.0}),
    "RNNoise": ("RnNoise", {"wet": 1.0, "passes": 1}),
    "NSNet2": ("Nsnet2", {"min_gain_db": -80.0, "strength": 1.0}),
    "DTLN": ("Dtln", {"wet": 1.0}),
    "GTCRN": ("Gtcrn", {"wet": 1.0, "passes": 1}),
}
"""Name of a condition -> the step of the corpus that makes it, with its parameters"""

PAIRS = (
    ("s_mos", "dnsmos_sig"),
    ("n_mos", "dnsmos_bak"),
    ("g_mos", "dnsmos_ovrl"),
    ("g_mos", "dnsmos_p808"),
    ("g_mos", "distillmos"),
)
"""Each target with the predictors of the same quality"""
PREDICTORS = {
    "dnsmos_sig": "DNSMOS SIG",
    "dnsmos_bak": "DNSMOS BAK",
    "dnsmos_ovrl": "DNSMOS OVRL",
    "dnsmos_p808": "DNSMOS P.808",
    "distillmos": "Distill-MOS",
}
SYSTEMS = {
    "before": "labels before",
    "labels": "labels",
    "ensemble": "label ensemble",
    "base": "`base`",
    "small": "`small`",
}
"""What is compared with the predictors -> its name on the page"""
MIDDLE_SNRS_DB = (7, 15)
"""SNRs of a second figure for S-MOS: at 0 dB DNSMOS SIG falls far below what listeners of P.835 tests say"""
BEFORE = Path(__file__).with_name("labels_before.json")
"""Curves of the labels before"""

Samples = NDArray[np.float32]
Array = NDArray[np.float64]
Columns = Mapping[str, Array]
"""Values by target or predictor, (clips,) each"""


@dataclass(frozen=True)
class Case:
    """One clip of the test, with the place where its signals are stored."""

    suppressor: str
    snr_db: int
    number: int
    speech: Item
    noise: Item
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.suppressor}-{self.snr_db:02d}-{self.number:02d}"

    @property
    def processed(self) -> Path:
        """The recording that models and predictors score."""
        return self.folder / f"{self.name}.wav"

    @property
    def parts(self) -> Path:
        """Clean speech and both components of the recording."""
        return self.folder / f"{self.name}.npz"

    def tracks(self) -> Tracks:
        """Clean speech, speech component and noise component."""
        with np.load(self.parts) as stored:
            return Tracks(stored["clean"], stored["speech"], stored["noise"])


def cases(data: Path, folder: Path, split: Split = "test") -> list[Case]:
    """All clips of the test: the same pairs of speech and noise in each condition."""
    speech = of_split(scan((data / SPEECH,), by_speaker=True), split, SPLIT_SEED)
    speech = [item for item in speech if item.seconds >= SECONDS][:CLIPS]
    noise = _varied(of_split(scan((data / NOISE,), by_speaker=False), split, SPLIT_SEED))[:CLIPS]
    return [
        Case(suppressor, snr_db, number, *pair, folder)
        for suppressor in SUPPRESSORS
        for snr_db in SNRS_DB
        for number, pair in enumerate(zip(speech, noise, strict=False))
    ]


def _varied(items: Sequence[Item]) -> list[Item]:
    """The longest file of each kind first, then the second longest of each kind, and so on."""
    by_kind: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: (-item.seconds, item.path)):
        if item.seconds >= MIN_NOISE_S:
            by_kind.setdefault(Path(item.path).parent.name, []).append(item)
    ranked = [(rank, kind, item) for kind, files in by_kind.items() for rank, item in enumerate(files)]
    return [item for _, _, item in sorted(ranked, key=lambda entry: entry[:2])]


def make(case: Case) -> Tracks:
    """Mix and process one clip."""
    clean = read(case.speech.path).samples[: round(SECONDS * SAMPLE_RATE)]
    begun = start(clean * np.float32(nominal_gain(clean)))
    mixed = RecordedNoise(case.noise.path, 0, float(case.snr_db))(begun)
    step, parameters = SUPPRESSORS[case.suppressor]
    return STEPS[step](**parameters)(mixed) if step else mixed


def build(wanted: Sequence[Case]) -> None:
    """Store the signals of all cases that are not stored yet."""
    for case in wanted:
        if case.processed.exists():
            continue
        case.folder.mkdir(parents=True, exist_ok=True)
        made = make(case)
        np.savez(case.parts, clean=made.clean, speech=made.speech, noise=made.noise)
        partial = case.processed.with_suffix(".tmp")
        sf.write(partial, made.mixture.clip(-1, 1), SAMPLE_RATE, subtype="PCM_24", format="WAV")
        partial.replace(case.processed)


@dataclass(frozen=True)
class Agreement:
    """How one system agrees with one predictor."""

    system: str
    target: str
    predictor: str
    conditions: int
    lcc: float
    """Pearson correlation over the means of the conditions"""
    lcc_middle: float
    """The same over the conditions with MIDDLE_SNRS_DB"""
    lcc_clip: float
    """Pearson correlation over clips"""
    slope: float
    """Improvement by the suppressors relative to the improvement of the predictor: least squares through zero over
    all conditions with a suppressor, each minus the unprocessed condition at its SNR"""


def agreement(system: str, target: str, predictor: str, wanted: Sequence[Case], x: Array, y: Array) -> Agreement:
    """Scores of a system, x, and of a predictor, y, (clips,) each, in the order of the cases."""
    means = {key: (float(np.mean(x[at])), float(np.mean(y[at]))) for key, at in _by_condition(wanted).items()}
    middle = [pair for (_, snr_db), pair in means.items() if snr_db in MIDDLE_SNRS_DB]
    gains = np.array([np.subtract(pair, means["none", key[1]]) for key, pair in means.items() if key[0] != "none"])
    return Agreement(
        system, target, predictor, len(means), _lcc(means.values()), _lcc(middle),
        _lcc(zip(x, y, strict=True)), float(gains[:, 0] @ gains[:, 1] / (gains[:, 1] @ gains[:, 1])),
    )  # fmt: skip


def _by_condition(wanted: Sequence[Case]) -> dict[tuple[str, int], list[int]]:
    places: dict[tuple[str, int], list[int]] = {}
    for place, case in enumerate(wanted):
        places.setdefault((case.suppressor, case.snr_db), []).append(place)
    return places


def _lcc(pairs: Iterable[tuple[float, float]]) -> float:
    return float(np.corrcoef(np.array(list(pairs)).T)[0, 1])


def labelled(wanted: Sequence[Case], rule: Callable[[Tracks], Quest]) -> Columns:
    """Labels of all cases by a rule."""
    made = [rule(case.tracks()) for case in wanted]
    return {target.key: np.array([getattr(quest, target.key) for quest in made]) for target in QUEST}


def kinds(case: Case) -> tuple[str, ...]:
    """Kinds of processing of a case."""
    return kinds_of(["RecordedNoise", SUPPRESSORS[case.suppressor][0] or "Playback"])


def labels_now(made: Tracks) -> Quest:
    """The labels that a corpus gets."""
    return label(made.clean, made.speech, made.noise)


def labels_before(made: Tracks) -> Quest:
    """The labels of November 27: the level in the pauses does not count, and missing energy counts in full."""
    curves = Curves(**{key: tuple(values) for key, values in json.loads(BEFORE.read_text())["curves"].items()})
    looks = Looks(
        pesq_wb(made.clean, made.speech),
        envelope_distance(made.clean, made.speech, 1.0),
        coherence(made.clean, made.speech),
    )
    return quest(
        equivalent_q(looks, curves, 0.6), background(made.clean, made.speech, made.noise).snr(0.0), curves
    )


def scored(wanted: Sequence[Case], model: str) -> Columns:
    """Scores of a shipped model."""
    predictor = Predictor(model, threads=1)
    made = [predictor.score(case.processed) for case in wanted]
    return {target.key: np.array([scores.value(target.key) for scores in made]) for target in QUEST}


def compare(wanted: Sequence[Case], systems: Mapping[str, Columns], predicted: Columns) -> list[Agreement]:
    """All systems with all predictors."""
    return [
        agreement(system, target, predictor, wanted, columns[target], predicted[predictor])
        for target, predictor in PAIRS
        for system, columns in systems.items()
    ]


def page(wanted: Sequence[Case], systems: Mapping[str, Columns], predicted: Columns) -> str:
    """docs/results/witnesses.md."""
    found = compare(wanted, systems, predicted)
    names = [SYSTEMS[system] for system in systems]
    lines = [
        HEAD.format(
            conditions=found[0].conditions,
            clips=len(wanted),
            each=len({case.number for case in wanted}),
            suppressors=", ".join(name for name in SUPPRESSORS if name != "none"),
            snrs=", ".join(map(str, SNRS_DB)),
        )
    ]
    for title, of in TABLES.items():
        lines += [f"## {title}", "", "| score | predictor | " + " | ".join(names) + " |"]
        lines.append("|---" * (2 + len(names)) + "|")
        for target, predictor in PAIRS:
            values = [of(one) for one in found if (one.target, one.predictor) == (target, predictor)]
            cells = [BY_KEY[target].name, PREDICTORS[predictor], *(f"{value:.3f}" for value in values)]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join((*lines, _conditions(wanted, systems, predicted)))


def _conditions(wanted: Sequence[Case], systems: Mapping[str, Columns], predicted: Columns) -> str:
    """Means of each condition: N-MOS and S-MOS of all systems, and the predictors."""
    columns = [("DNSMOS BAK", predicted["dnsmos_bak"])]
    columns += [(f"N, {SYSTEMS[name]}", values["n_mos"]) for name, values in systems.items()]
    columns += [("DNSMOS SIG", predicted["dnsmos_sig"])]
    columns += [(f"S, {SYSTEMS[name]}", values["s_mos"]) for name, values in systems.items()]
    lines = [
        "## Means of the conditions",
        "",
        "| suppressor | SNR, dB | " + " | ".join(n for n, _ in columns) + " |",
    ]
    lines.append("|---" * (2 + len(columns)) + "|")
    for (suppressor, snr_db), places in _by_condition(wanted).items():
        cells = [f"{np.mean(values[places]):.2f}" for _, values in columns]
        lines.append("| " + " | ".join((suppressor, str(snr_db), *cells)) + " |")
    return "\n".join((*lines, ""))


HEAD = """# Labels and models compared with independent predictors, after noise suppression

Written by `python -m research.witnesses --clips {each}` (`make witnesses` takes ten clips of each condition).

{each} speakers and {each} noises from the test split, which no training clip contains, at {snrs} dB SNR: unprocessed
and processed by {suppressors},
each at full strength. These are {conditions} conditions and {clips} clips.

**DNSMOS and Distill-MOS are predictors that were trained on human ratings. They are not listeners**, and DNSMOS SIG
falls much further with noise than the ratings of P.835 tests do. No public set of P.835 ratings of noise suppressors
with audio was found. The label ensemble contains these predictors, so its agreement with them is not independent.
*Labels* are those of the three-signal labeller, *labels before* those of the rule of November 27.
"""
TABLES: Mapping[str, Callable[[Agreement], float]] = {
    "Correlation over conditions": lambda one: one.lcc,
    "Correlation over the conditions at 7 and 15 dB": lambda one: one.lcc_middle,
    "Correlation over clips": lambda one: one.lcc_clip,
    "Slope of the improvement by the suppressors": lambda one: one.slope,
}


def main() -> None:
    """Build, score, compare and write."""
    options = _options()
    wanted = [case for case in cases(options.data, options.work / "clips") if case.number < options.clips]
    build(wanted)
    files = [Excerpt(case.processed) for case in wanted]
    predicted = ensemble.score(
        options.peers, files, options.work / "peers", "witnesses", options.jobs, lambda *_: None
    )
    systems = {"before": labelled(wanted, labels_before), "labels": labelled(wanted, labels_now)}
    agreed = ensemble_labels({**systems["labels"], **predicted}, [kinds(case) for case in wanted])
    systems["ensemble"] = {key: one.values for key, one in agreed.items()}
    systems |= {model: scored(wanted, model) for model in ("base", "small")}
    write(wanted, systems, predicted, options.output)
    print(options.output / "witnesses.md")


def write(wanted: Sequence[Case], systems: Mapping[str, Columns], predicted: Columns, folder: Path) -> None:
    """Write witnesses.csv and witnesses.md."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [asdict(one) for one in compare(wanted, systems, predicted)]
    with (folder / "witnesses.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    (folder / "witnesses.md").write_text(page(wanted, systems, predicted), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the speech and noise sets")
    parser.add_argument("--work", type=Path, default=Path("runs/witnesses"), help="folder for clips and scores")
    parser.add_argument("--peers", type=Path, default=ensemble.PYTHON, help="Python with the predictors")
    parser.add_argument("--clips", type=int, default=CLIPS, help="clips of each condition")
    parser.add_argument("--jobs", type=int, default=0, help="processes of the predictors; 0 is one per core")
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
