"""One set of files -> its labels: what `mtqnet label` does.

A set is clean speech, the unprocessed signal (speech + noise, as a microphone gets it) and the processed signal
(what came out of the device, coder or noise reducer): the three inputs of 3QUEST.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from mtqnet.audio import reading
from mtqnet.audio.resampling import Samples
from mtqnet.errors import AudioError
from mtqnet.labels.composite import Composite, composite
from mtqnet.labels.intrusive import Objective, align, objective
from mtqnet.labels.three_signal import Quest, label_three, label_two

WITHOUT_UNPROCESSED = (
    "without --unprocessed, every difference from the clean speech counts as distortion of the speech, and N-MOS is "
    "the clean recording's own background: suitable for codecs, concealment and rooms, not for noise suppression"
)


@dataclass(frozen=True)
class LabelledSet:
    """All labels of one set."""

    quest: Quest
    objective: Objective
    """Processed against clean"""
    composite: Composite
    """Likewise, with wideband PESQ"""
    cautions: tuple[str, ...]
    """What the labels cannot represent"""

    def record(self) -> dict[str, float | list[str]]:
        """All numbers flat, by name."""
        quest = {name: value for name, value in asdict(self.quest).items() if name != "caution"}
        measures = asdict(self.objective) | {k: getattr(self.composite, k) for k in ("csig", "cbak", "covl")}
        rounded = {name: round(float(value), 4) for name, value in (quest | measures).items()}
        return {**rounded, "cautions": list(self.cautions)}


def label_files(clean: Path, unprocessed: Path | None, processed: Path) -> LabelledSet:
    """Read, align and label a set; files of any rate, each up to 0.5 s late and of any level.

    Raises AudioError for a file that cannot be read, LabelError for signals that have no label.
    """
    reference, heard = _read(clean), _read(processed)
    if unprocessed is None:
        quest = label_two(reference, heard)
    else:
        quest = label_three(reference, _read(unprocessed), heard)
    cautions = (WITHOUT_UNPROCESSED,) if unprocessed is None else ()
    begun, given = align(reference, heard)
    said = (*cautions, quest.caution) if quest.caution else cautions
    return LabelledSet(quest, objective(begun, given), composite(begun, given), said)


def _read(path: Path) -> Samples:
    """Read a file; errors contain its name."""
    try:
        return reading.read(path).samples
    except AudioError as error:
        raise type(error)(f"{path}: {error}") from error
