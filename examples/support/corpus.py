"""Text that every Python carries: the source of its own standard library; and what a compressor
makes of a text."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import pathlib
import sysconfig


def python_files(folder: str | pathlib.Path | None = None) -> list[pathlib.Path]:
    """The `.py` files under a folder, in the order of the md5 of their relative path, which mixes
    them the same way everywhere.

    By default the source of Python's own standard library. Left out: tests, the encodings' tables,
    installed packages, and `pydoc_data/topics.py`, which repeats itself.
    """
    root = pathlib.Path(sysconfig.get_path("stdlib") if folder is None else folder).expanduser()
    names = [p.relative_to(root) for p in root.rglob("*.py")]
    if folder is None:
        left_out = {
            "test",
            "tests",
            "idle_test",
            "encodings",
            "site-packages",
            "dist-packages",
            "__pycache__",
        }
        names = [
            n
            for n in names
            if not left_out & set(n.parts) and n.as_posix() != "pydoc_data/topics.py"
        ]
    return [
        root / n
        for n in sorted(
            names, key=lambda n: hashlib.md5(n.as_posix().encode(), usedforsecurity=False).digest()
        )
    ]


def python_source(limit: int | None = None) -> bytes:
    """The first `limit` bytes of the source of Python's own standard library, its files in the
    order of `python_files`."""
    text = bytearray()
    for path in python_files():
        if limit is not None and len(text) >= limit:
            break
        text += path.read_bytes()
    return bytes(text[:limit])


def compressors(train: bytes, held: bytes) -> dict[str, float]:
    """Bits per byte that gzip, bz2 and xz spend on `held` after `train`: the size of both less the
    size of `train`."""
    methods = {
        "gzip": lambda text: gzip.compress(text, 9, mtime=0),
        "bz2": lambda text: bz2.compress(text, 9),
        "xz": lambda text: lzma.compress(text, preset=9 | lzma.PRESET_EXTREME),
    }
    return {
        name: 8 * (len(method(train + held)) - len(method(train))) / len(held)
        for name, method in methods.items()
    }
