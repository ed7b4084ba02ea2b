"""Arrays of an .npz file as they lie on disk: of a file that is opened, only what is asked for is read.

A file is mapped once, whatever the number of its arrays: a process may have no more than 65,530 mappings.
Several processes of one machine then hold the features of a corpus once, in the system's cache, and each reads the
clips of its own share.
"""

from __future__ import annotations

import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a ZIP member: its last two numbers are the lengths of name and extra field, behind which the data begin"""


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file that numpy.savez wrote (not compressed), mapped and read-only; numbers are read."""
    found: dict[str, NDArray[Any]] = {}
    whole = np.asarray(np.memmap(path, np.uint8, "r"))
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for member in archive.infolist():
            file.seek(member.header_offset)
            name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
            file.seek(name_length + extra_length, 1)
            npy.read_magic(file)
            shape, _, dtype = npy.read_array_header_1_0(file)
            name = member.filename.removesuffix(".npy")
            place = file.tell()
            found[name] = whole[place : place + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
    return found
