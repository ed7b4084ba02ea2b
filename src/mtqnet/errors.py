"""What can go wrong, as a tree. Every exception says what happened and what to do next.

MtqnetError
├── AudioError                a recording that gets a reason instead of a score
│   ├── MissingFileError        the path does not exist
│   ├── UnreadableError         not audio that libsndfile reads
│   ├── EmptyAudioError         no bytes, or a header without samples
│   ├── TooShortError           less speech than a score can rest on
│   ├── SilentError             nothing to hear
│   ├── NotFiniteError          NaN or infinite samples
│   └── KilledError             killed the process that read it; told only where processes are watched
├── NoAudioFoundError         a folder without audio
├── UsageError                arguments that cannot be meant (also a ValueError)
├── ModelError                a model that is missing, damaged or does not fit
├── CorpusError               speech, noise or rooms that a corpus cannot be built from
├── LabelError                signals that have no label: silent, too short, or of unlike length
├── GateError                 speech that is not as good as `mtqnet gate` was told to ask
├── NotBetterError            a tuned model that would take the place of a better one
└── MissingExtraError         an optional part that is not installed (also an ImportError)

`exit_code` is what the command line returns: one number a kind, so that a script can tell them apart.
"""

from __future__ import annotations


class MtqnetError(Exception):
    """Base of everything this package raises on purpose."""

    exit_code = 1


class AudioError(MtqnetError):
    """A recording that cannot be scored; in a table its text stands in the column `error`."""


class MissingFileError(AudioError):
    exit_code = 3


class UnreadableError(AudioError):
    exit_code = 4


class EmptyAudioError(AudioError):
    exit_code = 5


class TooShortError(AudioError):
    exit_code = 6


class SilentError(AudioError):
    exit_code = 7


class NotFiniteError(AudioError):
    exit_code = 8


class KilledError(AudioError):
    exit_code = 16


class NoAudioFoundError(MtqnetError):
    exit_code = 9


class ModelError(MtqnetError):
    exit_code = 10


class MissingExtraError(MtqnetError, ImportError):
    exit_code = 11


class CorpusError(MtqnetError):
    exit_code = 12


class LabelError(MtqnetError):
    exit_code = 13


class GateError(MtqnetError):
    exit_code = 14


class NotBetterError(MtqnetError):
    exit_code = 15


class UsageError(MtqnetError, ValueError):
    exit_code = 2


def missing_extra(what: str, extra: str) -> MissingExtraError:
    """The one friendly sentence for a part that is not installed."""
    return MissingExtraError(f"{what} needs an optional part: pip install 'mtqnet[{extra}]'")
