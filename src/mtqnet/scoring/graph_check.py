"""Check an ONNX graph before onnxruntime loads it, without the onnx package.

onnxruntime reads external data of a graph that was loaded from memory relative to the current folder, so that an
untrusted model could read files of its user. A model of this package contains its weights and uses only operators
of the ONNX standard; any other graph is refused. The protobuf format is decoded as far as these checks need it.
Field numbers are those of onnx.proto (github.com/onnx/onnx).
"""

from __future__ import annotations

from collections.abc import Iterator

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Operator sets of the ONNX standard"""
LOOPS = ("Loop", "Scan")
"""Operators that may run without end"""
MAX_DEPTH = 32
"""Nesting limit of subgraphs"""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MESSAGES = {
    "model": {7: "graph", 8: "opset", 25: "function", 20: "training"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 9: "opset", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "tensor": {},
    "opset": {},
}
"""Message type -> field number -> type of the message in this field"""
_STRINGS = {"node": {4: "operator", 7: "domain"}, "opset": {1: "domain"}, "function": {10: "domain"}}
"""Message type -> field number -> what the text in this field is"""
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14


def find_problem(content: bytes) -> str | None:
    """Check the content of an .onnx file.

    Args:
        content: A serialised ModelProto.

    Returns:
        Why the graph is refused; None if it is accepted.
    """
    try:
        return _find_problem(memoryview(content), "model", 0)
    except (IndexError, ValueError):
        return "it is not an ONNX file"


def _find_problem(message: memoryview, kind: str, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"its graph is nested more than {MAX_DEPTH} levels deep"
    for number, value in _fields(message):
        if kind == "tensor":
            if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value == 1):
                return "its weights are in another file (external data): export it as a single file"
        elif isinstance(value, memoryview):
            if number in _STRINGS.get(kind, {}):
                problem = _text_problem(_STRINGS[kind][number], bytes(value).decode("utf-8"))
            elif number in _MESSAGES[kind]:
                problem = _find_problem(value, _MESSAGES[kind][number], depth + 1)
            else:
                continue
            if problem is not None:
                return problem
    return None


def _text_problem(what: str, text: str) -> str | None:
    if what == "domain" and text not in DOMAINS:
        return f"it uses operators of the domain {text[:80]!r}, which are not part of the ONNX standard"
    if what == "operator" and text in LOOPS:
        return f"it uses the operator {text}, which may run without end"
    return None


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) of a protobuf message. Raises IndexError or ValueError where it is malformed."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > len(message):
            raise ValueError("a field ends behind its message")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number at this position, and the position after it."""
    number = shift = 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than 64 bits")
