"""The digits that scikit-learn carries."""

import gzip

import numpy as np
import pytest

from jaxrnn import data, experiments


def test_digits_are_the_ones_of_the_paper():
    images, labels = data.digits(experiments.package("sklearn", "digits"))
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((1797, 8, 8), np.float32, (1797,), np.int32)
    assert (images.min(), images.max()) == (0, 1)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert labels[:10].tolist() == list(range(10))
    assert (images[0] * 16).astype(int)[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_other_files_are_refused(tmp_path):
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("1,2,3\n")
    with pytest.raises(ValueError, match="lines of 3 numbers"):
        data.digits(tmp_path / "a.csv.gz")
