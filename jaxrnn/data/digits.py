"""Small pictures that an installed package carries."""

from __future__ import annotations

import gzip
import pathlib

import numpy as np

from jaxrnn import errors


def digits(package: str | pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 handwritten digits of scikit-learn (Alpaydin & Kaynak 1998), read from its folder without importing it.

        images, labels = data.digits(experiments.package("sklearn", "digits"))

    Args:
      package: the folder of the package `sklearn`, or a file like its `datasets/data/digits.csv.gz`: lines of 64 brightnesses from 0
        to 16, row by row, and the digit.

    Returns:
      `images [N, 8, 8]`, float32 from 0 to 1, and `labels [N]`, int32 from 0 to 9.
    """
    path = pathlib.Path(package)
    path = path / "datasets" / "data" / "digits.csv.gz" if path.is_dir() else path
    with gzip.open(path, "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
    if table.shape[-1] != 65:
        raise errors.wrong_columns(path, table.shape[-1], "64 brightnesses and a digit")
    return (table[:, :64] / np.float32(16)).reshape(-1, 8, 8), table[:, 64].astype(np.int32)
