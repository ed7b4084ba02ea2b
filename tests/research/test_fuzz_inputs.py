"""Mutated tables, model records and WebSocket messages are read or refused as documented. audio/test_hostile.py: files.

`make fuzz` runs the same functions under a coverage-guided fuzzer. Inputs that it found are below.
"""

from __future__ import annotations

from functools import lru_cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from research.fuzz.inputs import TARGETS

TOKENS = (
    b"NaN", b"Infinity", b"-1e999", b"1e308", b"null", b"[]", b"{}", b'"', b",", b";", b"\t", b"\r\n", b"\n\n", b"0",
    b"99", b"-9", b"5,01", b"3.5", b"true", b"\xff\xfe", b"\0", b"\xed\xa0\x80", b"\\ud800", b"[" * 500, b"9" * 400,
    b"sep=|\n", b'{"type":"end"}', b"RIFF", b"\xef\xbb\xbf",
)  # fmt: skip
"""Parts of text that mean something to a reader"""


@lru_cache
def seeds(name: str) -> list[bytes]:
    return list(TARGETS[name][1]())


@st.composite
def mutated(draw: st.DrawFn, name: str) -> bytes:
    """A valid input in which parts were replaced, removed, repeated or inserted."""
    data = draw(st.sampled_from(seeds(name)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        part = draw(st.sampled_from(TOKENS) | st.binary(max_size=6) | st.just(data[start:end] * 2))
        data = data[:start] + part + data[end:]
    return data[: draw(st.none() | st.integers(0, len(data)))]


QUICK = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(mutated("table"))
def test_tables(data: bytes) -> None:
    TARGETS["table"][0](data)


@QUICK
@given(mutated("record"))
def test_records_and_graphs(data: bytes) -> None:
    TARGETS["record"][0](data)


@settings(QUICK, max_examples=25)
@given(mutated("messages"))
def test_messages_of_a_live_stream(data: bytes) -> None:
    TARGETS["messages"][0](data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read(name: str) -> None:
    for seed in seeds(name)[:3]:
        TARGETS[name][0](seed)
