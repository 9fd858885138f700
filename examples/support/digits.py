"""Small pictures that an installed package carries."""

from __future__ import annotations

import gzip
import pathlib
import zlib

import numpy as np

from support import errors


def digits(package: str | pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 handwritten digits of scikit-learn (Alpaydin & Kaynak 1998), read from its folder
    without importing it.

        images, labels = digits.digits(experiments.package("sklearn", "digits"))

    Args:
      package: the folder of the package `sklearn`, or a file like its
        `datasets/data/digits.csv.gz`: lines of 64 brightnesses from 0 to 16, row by row, and at
        last the digit.

    Returns:
      `images [N, 8, 8]`, float32 from 0 to 1, and `labels [N]`, int32 from 0 to 9.

    Raises:
      ValueError: for a file that is damaged, or holds something else.
    """
    path = pathlib.Path(package)
    path = path / "datasets" / "data" / "digits.csv.gz" if path.is_dir() else path
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: holds no digits ({error})") from None
    if table.shape[-1] != 65:
        raise errors.wrong_columns(path, table.shape[-1], "64 brightnesses and a digit")
    return (table[:, :64] / np.float32(16)).reshape(-1, 8, 8), table[:, 64].astype(np.int32)


Digits = tuple[np.ndarray, np.ndarray]


def digit_halves(package: str | pathlib.Path, validate: bool = False) -> tuple[Digits, Digits]:
    """`digits` to learn from and to be scored on: the first half and the second, as in
    scikit-learn's own example of them.

    Args:
      package: as for `digits`.
      validate: score the last fifth of the first half instead, and leave it out of what is learnt;
        the second half is not read.

    Returns:
      Twice the pair: pixels `[1, N, 64]`, each picture a sequence of one step, and labels `[N]`.

    Raises:
      ValueError: for fewer than 20 digits, or one class alone in the first half.
    """
    images, labels = digits(package)
    pixels, half = images.reshape(1, len(images), 64), len(images) // 2
    kinds = len(np.unique(labels[:half]))
    if half < 10 or kinds < 2:
        raise errors.few_digits(package, len(images), kinds)
    first, last = (half - half // 5, half) if validate else (half, len(images))
    return (pixels[:, :first], labels[:first]), (pixels[:, first:last], labels[first:last])
