"""Exceptions of this package. Each message states what is wrong, what was found, and what to do.

MtqnetError
├── AudioError                a recording that gets a reason instead of scores
│   ├── MissingFileError        the path does not exist
│   ├── UnreadableError         the file is not audio that can be decoded
│   ├── EmptyAudioError         no bytes, or a header without samples
│   ├── TooShortError           less sound than the minimum duration
│   ├── SilentError             no sound above the silence threshold
│   ├── NotFiniteError          NaN or infinite samples
│   └── KilledError             the worker process was killed while it read the file
├── NoAudioFoundError         a folder without audio files
├── UsageError                invalid arguments or input tables (also a ValueError)
├── ModelError                a model that is missing, damaged or incompatible
├── CorpusError               speech, noise or rooms from which no corpus can be built
├── LabelError                signals that cannot be labelled: silent, too short, or not of the same speech
├── GateError                 recordings that do not meet the limits of `mtqnet gate`
├── NotBetterError            a fine-tuned model that is not better than the model it would replace
└── MissingExtraError         an optional dependency that is not installed (also an ImportError)

`exit_code` is the exit code of the command line. There are four: 0 done, 1 some recordings were not scored, 2 wrong
use (arguments, input, model or installation), 3 a gate failed or a fine-tuned model is not better. The reason for each
recording is in the table.
"""

from __future__ import annotations

DONE = 0
SOME_NOT_SCORED = 1
WRONG_USE = 2
GATE_FAILED = 3


class MtqnetError(Exception):
    """Base class of all exceptions that this package raises on purpose."""

    exit_code = WRONG_USE


class AudioError(MtqnetError):
    """A recording that cannot be scored; in a table its message is in the column `error`."""

    exit_code = SOME_NOT_SCORED


class MissingFileError(AudioError):
    """The path does not exist."""


class UnreadableError(AudioError):
    """The file is not audio that can be decoded."""


class EmptyAudioError(AudioError):
    """The file has no samples."""


class TooShortError(AudioError):
    """The recording is shorter than the minimum duration."""


class SilentError(AudioError):
    """The recording has no sound above the silence threshold."""


class NotFiniteError(AudioError):
    """The recording has samples that are NaN or infinite."""


class KilledError(AudioError):
    """The worker process was killed while it read the file."""


class NoAudioFoundError(MtqnetError):
    """The folder contains no audio files."""


class ModelError(MtqnetError):
    """The model is missing, damaged or incompatible."""


class MissingExtraError(MtqnetError, ImportError):
    """An optional dependency is not installed."""


class CorpusError(MtqnetError):
    """No corpus can be built from the given sources."""


class LabelError(MtqnetError):
    """The signals cannot be labelled."""


class GateError(MtqnetError):
    """The recordings do not meet the limits of `mtqnet gate`."""

    exit_code = GATE_FAILED


class NotBetterError(MtqnetError):
    """The fine-tuned model is not better than the model that it would replace."""

    exit_code = GATE_FAILED


class UsageError(MtqnetError, ValueError):
    """The arguments or the input tables are invalid."""


def with_file(error: AudioError, file: object) -> AudioError:
    """Return an error of the same class whose message begins with the name of the file."""
    return type(error)(f"{file}: {error}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class if it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def install_command(extra: str) -> str:
    """Return the command that installs an extra of pyproject.toml, also as it is in a clone of the repository."""
    return f"pip install 'mtqnet[{extra}]' (in a clone of the repository: pip install '.[{extra}]')"


def missing_extra(what: str, extra: str) -> MissingExtraError:
    """Return the error for an optional dependency that is not installed.

    Args:
        what: The operation that needs it, such as "mtqnet report".
        extra: The name of the extra in pyproject.toml.
    """
    return MissingExtraError(
        f"{what} needs optional packages that are not installed: run {install_command(extra)}"
    )
