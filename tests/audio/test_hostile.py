"""Mutated files and random bytes behind valid headers: a recording or an AudioError, never another exception."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtqnet.audio.analysis import analyse
from mtqnet.audio.containers import container_of
from mtqnet.audio.decoding import open_source
from mtqnet.audio.reading import signals
from mtqnet.errors import AudioError

FORMATS = (
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("RF64", "PCM_24"),
    ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "ULAW"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
    ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("VOC", "PCM_16"), ("NIST", "PCM_16"), ("AVR", "PCM_16"),
)  # fmt: skip
HEADER = 96
"""Bytes from the beginning in which most mutations are made"""


def _valid(container: str, encoding: str) -> bytes:
    rate = 16_000
    time = np.arange(round(0.6 * rate)) / rate
    file = io.BytesIO()
    sf.write(file, 0.3 * np.sin(2 * np.pi * 300 * time), rate, format=container, subtype=encoding)
    return file.getvalue()


VALID = [_valid(*form) for form in FORMATS]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid file with changed bytes in its header and body, cut off, repeated or continued by random bytes."""
    data = bytearray(draw(st.sampled_from(VALID)))
    for place in draw(st.lists(st.integers(0, HEADER - 1), max_size=4)):
        data[place] = draw(st.integers(0, 255))
    for place in draw(st.lists(st.integers(0, len(data) - 1), max_size=8)):
        data[place] ^= 1 << draw(st.integers(0, 7))
    end = draw(st.none() | st.integers(1, len(data)))
    data = data[:end]
    return bytes(data) * draw(st.sampled_from([1, 1, 1, 2])) + draw(st.binary(max_size=64))


@st.composite
def headers_with_random_content(draw: st.DrawFn) -> bytes:
    """The header of a valid file, and random bytes."""
    head = draw(st.sampled_from(VALID))[: draw(st.integers(4, HEADER))]
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return head + random.bytes(draw(st.integers(0, 20_000)))


def accepted_or_refused(data: bytes) -> None:
    try:
        source = open_source(data)
        for signal in signals(source, "mix") + signals(source, "each")[:2]:
            result = analyse(signal).analysis
            assert 0 <= result.start < result.stop <= result.samples
            assert np.isfinite(result.active_power)
    except AudioError as error:
        assert len(str(error)) > 10
        assert "\n" not in str(error)


QUICK = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(mutated())
def test_mutated_files(data: bytes) -> None:
    accepted_or_refused(data)


@QUICK
@given(headers_with_random_content())
def test_random_bytes_behind_valid_headers(data: bytes) -> None:
    accepted_or_refused(data)


@given(st.binary(max_size=4096))
def test_any_bytes_have_a_container_or_none(data: bytes) -> None:
    assert container_of(data) is None or isinstance(container_of(data), str)


def test_nothing_is_printed_about_damaged_files(capfd: pytest.CaptureFixture[str]) -> None:
    mp3 = VALID[FORMATS.index(("MP3", "MPEG_LAYER_III"))]
    for data in (mp3[:700], b"\0" * 3000 + mp3, mp3[:600] + bytes(2000) + mp3[600:], b"\xff\xfb" + bytes(9000)):
        accepted_or_refused(data)
    assert capfd.readouterr().err == ""
