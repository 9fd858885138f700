"""Ragged rows in padded buckets."""

import copy
import itertools
import pickle

import numpy as np
import pytest

from jaxrnn import data
from jaxrnn.data.buckets import boundaries


def ragged(count=37, longest=12, seed=0):
    """Sources [t, 2] and targets [u] of lengths of their own, and labels: row i is full of i + 1,
    so that every entry tells its row."""
    random = np.random.default_rng(seed)
    sources = [
        np.full((random.integers(1, longest + 1), 2), i + 1, np.float32) for i in range(count)
    ]
    targets = [np.full(random.integers(1, 7), i + 1, np.int32) for i in range(count)]
    return sources, targets, np.arange(count) + 1


COLUMNS = ragged()
SOURCE = data.Buckets(COLUMNS, batch=4, buckets=3, seed=5)


def check(batch, columns):
    """Each row of a batch is the row of the data that it says it is, then zeros;
    a filler is nothing."""
    for column, mask, rows in zip(batch.columns, batch.masks, columns, strict=True):
        for b, i in enumerate(batch.index):
            if i < 0:
                assert not batch.rows[b]
                assert (
                    not column[b].any()
                    if mask is None
                    else not (mask[:, b].any() or column[:, b].any())
                )
            elif mask is None:
                assert column[b] == rows[i]
            else:
                length = len(rows[i])
                assert mask[:, b].tolist() == [t < length for t in range(len(mask))]
                np.testing.assert_array_equal(column[:length, b], rows[i])
                assert not column[length:, b].any()


def test_an_epoch_visits_every_row_once():
    for epoch in range(3):
        batches = [SOURCE(epoch * SOURCE.per_epoch + i) for i in range(SOURCE.per_epoch)]
        seen = np.concatenate([batch.index[batch.rows] for batch in batches])
        assert sorted(seen) == list(range(37))
        for batch in batches:
            check(batch, COLUMNS)
    assert [c.dtype for c in SOURCE(0).columns] == [np.float32, np.int32, COLUMNS[2].dtype]


def test_few_shapes_each_as_long_as_its_longest_row():
    shapes = {tuple(c.shape for c in SOURCE(i).columns) for i in range(3 * SOURCE.per_epoch)}
    assert shapes == {((t, 4, 2), (u, 4), (4,)) for t, u in SOURCE.shapes}
    assert len(SOURCE.shapes) == 3
    totals = {shape: [] for shape in SOURCE.shapes}
    for batch in SOURCE.ordered():
        totals[tuple(len(mask) for mask in batch.masks[:2])] += (
            batch.masks[0].sum(0) + batch.masks[1].sum(0)
        )[batch.rows].tolist()
    short, middle, long = totals.values()
    assert max(short) < min(middle) <= max(middle) < min(long)
    one = data.Buckets(COLUMNS, batch=4, buckets=1)
    assert one.shapes == ((max(map(len, COLUMNS[0])), max(map(len, COLUMNS[1]))),)


def test_a_batch_is_a_function_of_seed_and_step_alone():
    again = data.Buckets(COLUMNS, batch=4, buckets=3, seed=5)
    steps = [40, 3, 3, 0, 25, 11]  # in any order, as a run resumed asks for them
    for step in steps:
        for one, other in zip(SOURCE(step).columns, again(np.int64(step)).columns, strict=True):
            np.testing.assert_array_equal(one, other)

    def order(source, epoch):
        return [
            source(epoch * source.per_epoch + i).index.tolist() for i in range(source.per_epoch)
        ]

    assert order(SOURCE, 0) != order(SOURCE, 1)
    assert order(SOURCE, 0) != order(data.Buckets(COLUMNS, batch=4, buckets=3, seed=6), 0)
    short_first = [sum(map(len, (COLUMNS[0][b[0]], COLUMNS[1][b[0]]))) for b in order(SOURCE, 0)]
    assert short_first != sorted(short_first)  # batches are shuffled, not rows alone


def test_it_pickles_before_and_after_its_first_call():
    """As its arguments alone; a worker that is handed one makes the same batches."""
    source = data.Buckets(COLUMNS, batch=np.int64(4), buckets=np.int32(3), seed=np.uint8(5))
    size = len(pickle.dumps(source))
    twins = [pickle.loads(pickle.dumps(source))]
    source(3), list(source.ordered())
    twins.append(pickle.loads(pickle.dumps(source)))
    assert len(pickle.dumps(source)) == size
    for step in (0, 3, 40):
        for twin in (*twins, copy.deepcopy(source)):
            for got, want in zip(twin(step).columns, SOURCE(step).columns, strict=True):
                np.testing.assert_array_equal(got, want)
    assert type(source.batch) is type(source.seed) is int


def test_in_order_for_evaluation():
    got = np.zeros(37)
    for batch in SOURCE.ordered():
        check(batch, COLUMNS)
        got[batch.index[batch.rows]] = batch.columns[2][batch.rows]
    np.testing.assert_array_equal(got, COLUMNS[2])
    assert len(list(SOURCE.ordered())) == SOURCE.per_epoch


def computed(lengths, cuts, batch):
    pieces = np.split(lengths, cuts)
    return sum(-(-len(piece) // batch) * batch * piece.max(0).sum() for piece in pieces)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("columns", [1, 2])
def test_boundaries_compute_as_few_steps_as_any(seed, columns):
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 9, (14, columns))
    lengths = lengths[np.argsort(lengths.sum(1), kind="stable")]
    found = boundaries(lengths, batch=3, buckets=3)
    ends = np.flatnonzero(np.diff(lengths.sum(1))) + 1  # rows of one total length stay together
    every = [cuts for n in range(3) for cuts in itertools.combinations(ends, n)]
    assert computed(lengths, found, 3) == min(computed(lengths, list(cuts), 3) for cuts in every)


def test_boundaries_of_many_lengths_leave_little_padding():
    lengths = np.sort(np.random.default_rng(0).integers(100, 1345, 3000))[:, None]
    one, four, eight = (
        computed(lengths, boundaries(lengths, 16, n), 16) / lengths.sum() for n in (1, 4, 8)
    )
    assert one > 1.8
    assert four < 1.26
    assert eight < 1.13


@pytest.mark.parametrize("lengths", [[3], [3, 3, 3], [1, 50]])
def test_few_rows(lengths):
    source = data.Buckets(([np.ones(n) for n in lengths],), batch=8)
    assert sum(batch.rows.sum() for batch in source.ordered()) == len(lengths)
    assert source(5).columns[0].shape[1] == 8


def test_a_list_of_numbers_is_a_plain_column():
    columns = ([np.ones((3, 2))] * 4, [1, 2, 3, 4])  # plain numbers in a list, rows of one length
    batch = data.Buckets(columns, batch=4)(0)
    assert batch.columns[1].tolist() == [columns[1][i] for i in batch.index]


@pytest.mark.parametrize(
    ("columns", "options", "kind", "message"),
    [
        ([np.ones(3)], {}, TypeError, "columns as a list; need a tuple of columns"),
        ((), {}, TypeError, "need a tuple of columns"),
        (([],), {}, ValueError, "without rows"),
        (
            ([np.ones(3)], np.ones(2)),
            {},
            ValueError,
            r"columns of 1, 2 rows; need as many rows in each",
        ),
        ((np.ones(2),), {}, ValueError, "no ragged column; need at least one list"),
        (([1, 2],), {}, ValueError, "no ragged column"),
        (([np.ones(3), np.ones(0)],), {}, ValueError, "row 1 of column 0 with no steps"),
        (
            ([np.ones(3), np.ones(3, int)],),
            {},
            ValueError,
            r"row 1 of column 0 int64\[3\] after float64\[3\]",
        ),
        (([np.ones((3, 2)), np.ones((3, 1))],), {}, ValueError, "rows that differ in length alone"),
        ((np.float32(1),), {}, TypeError, "column 0 as float32"),
        (([np.ones(3)],), {"batch": 0}, ValueError, "batch=0; need a positive integer"),
        (([np.ones(3)],), {"buckets": 1.5}, TypeError, "buckets=1.5; need a positive integer"),
    ],
)
def test_what_will_not_do_is_refused(columns, options, kind, message):
    with pytest.raises(kind, match=rf"Buckets: got .*{message}"):
        data.Buckets(columns, **{"batch": 2, **options})
