"""The digits that scikit-learn carries."""

import gzip

import numpy as np
import pytest

from support import digits, experiments


def test_digits_are_the_ones_of_the_paper():
    images, labels = digits.digits(experiments.package("sklearn", "digits"))
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == (
        (1797, 8, 8),
        np.float32,
        (1797,),
        np.int32,
    )
    assert (images.min(), images.max()) == (0, 1)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert labels[:10].tolist() == list(range(10))
    assert (images[0] * 16).astype(int)[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_other_files_are_refused(tmp_path):
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("1,2,3\n")
    with pytest.raises(ValueError, match="lines of 3 numbers"):
        digits.digits(tmp_path / "a.csv.gz")
    whole = (tmp_path / "a.csv.gz").read_bytes()
    for content in (b"no gzip", whole[:-9], b""):
        (tmp_path / "b.csv.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"b\.csv\.gz: "):
            digits.digits(tmp_path / "b.csv.gz")


def test_halves_and_the_part_that_is_held_out():
    images, labels = digits.digits(experiments.package("sklearn", "digits"))
    (xs, ys), (held, truth) = digits.digit_halves(experiments.package("sklearn", "digits"))
    assert (xs.shape, held.shape) == ((1, 898, 64), (1, 899, 64))
    np.testing.assert_array_equal(np.concatenate([xs[0], held[0]]).reshape(-1, 8, 8), images)
    np.testing.assert_array_equal(np.concatenate([ys, truth]), labels)
    (part, _), (rest, kinds) = digits.digit_halves(
        experiments.package("sklearn", "digits"), validate=True
    )
    np.testing.assert_array_equal(np.concatenate([part, rest], 1), xs)
    np.testing.assert_array_equal(kinds, ys[-179:])


def test_one_class_is_not_enough(tmp_path):
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write((",".join(["1"] * 64) + ",3\n") * 40)
    with pytest.raises(ValueError, match="40 digits, 1 classes"):
        digits.digit_halves(tmp_path / "a.csv.gz")
