"""Ragged rows in padded batches of few shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from jaxrnn import errors

LEVELS = 256  # how many different lengths the search for boundaries looks at


class Padded(NamedTuple):
    """A batch of ragged rows, time first.

    `columns` holds each ragged column as `[T, B, ...]` and each plain one as `[B, ...]`. `masks`
    holds for each ragged column booleans `[T, B]`, true where the step is valid: where false, the
    column is zero. The mask of a plain column is None. `rows [B]` is true where the row is valid,
    and false for a filler, a row that only fills the batch up: its masks are false throughout, and
    a loss over rows must leave it out. `index [B]` says which row of the data each is, -1 for a
    filler.
    """

    columns: tuple[Any, ...]
    masks: tuple[Any, ...]
    rows: Any
    index: Any


class Ragged(NamedTuple):
    """Rows of one column end to end, and where each begins."""

    flat: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Buckets:
    """Ragged rows as padded batches of at most `buckets` shapes, so that little is padding and
    little is compiled.

    Rows are sorted by length and cut into buckets, such that an epoch computes the fewest steps,
    padding and fillers included. Every epoch visits each row once: the rows of a bucket are
    shuffled anew, then all batches are, by (seed, epoch) alone. The batch of a step depends on the
    step alone, so a resumed run sees what an uninterrupted one would have seen. All batches have
    `batch` rows; the last of a bucket is filled up with rows that `Padded.rows` and the masks leave
    out.

    Any function of the step is a source of batches for `training.fit`. A `grain.MapDataset` is one
    too, `lambda step: dataset[step]`; use it for its records and readers, or to shuffle data that
    does not fit into memory. It has no buckets by length (0.2.18): those of grain's iterators would
    have a state to save.

    Args:
      columns: a tuple. A list of arrays `[t_i, ...]` is a ragged column, padded to the longest of
        the bucket; an array `[N, ...]` or a list of numbers is a plain one, such as labels. Lengths
        may differ from column to column.
      batch: how many rows a batch has.
      buckets: the largest number of shapes.
      seed: the seed of the shuffling.

    It is called as `buckets(step) -> Padded`, pure in the step; `per_epoch` batches make an epoch.
    It pickles as its arguments, so that workers can be handed one.

    Raises:
      TypeError: for columns that hold no numbers, or sizes or a step that are not integers.
      ValueError: for columns of different numbers of rows, a row of length 0, rows that differ in
        dtype or features, no ragged column, a size below one or a negative step.

    Example:
      >>> rows = [np.arange(n, dtype=np.float32) for n in (1, 2, 2, 9)]
      >>> source = Buckets((rows, np.array([0, 1, 0, 1])), batch=2, buckets=2)
      >>> source.per_epoch, source.shapes  # the long row has a filler beside it
      (3, ((2,), (9,)))
      >>> batch = source(0)
      >>> batch.columns[0].shape == batch.masks[0].shape, batch.columns[1].shape, batch.rows.shape
      (True, (2,), (2,))
    """

    columns: tuple[Any, ...]
    batch: int
    buckets: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("buckets", 1), ("seed", 0)):
            number = errors.check_count("Buckets", name, getattr(self, name), least)
            object.__setattr__(self, name, number)
        errors.check_columns(self.columns)
        _ = self._parts

    def __getstate__(self) -> dict[str, Any]:
        """The arguments alone: the rest follows from them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @cached_property
    def _parts(self) -> tuple[Any, ...]:
        """Each column as a `Ragged` or an array."""
        return tuple(
            errors.check_numbers(i, column) if plain(column) else ragged(i, column)
            for i, column in enumerate(map(listed, self.columns))
        )

    @cached_property
    def _members(self) -> list[np.ndarray]:
        """The rows of each bucket, short ones first."""
        lengths = np.stack([part.lengths for part in self._parts if isinstance(part, Ragged)], 1)
        order = np.lexsort((np.arange(len(lengths)), lengths.sum(1)))
        return np.split(order, boundaries(lengths[order], self.batch, self.buckets))

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The steps that each ragged column is padded to, bucket by bucket."""
        parts = [part for part in self._parts if isinstance(part, Ragged)]
        return tuple(
            tuple(int(part.lengths[rows].max()) for part in parts) for rows in self._members
        )

    @property
    def per_epoch(self) -> int:
        """How many batches visit each row once."""
        return sum(-(-len(rows) // self.batch) for rows in self._members)

    @cached_property
    def _epoch(self) -> Callable[[int | None], list[tuple[int, np.ndarray]]]:
        """The batches of an epoch, each (bucket, rows), shuffled; in order for None."""

        @lru_cache(maxsize=2)
        def batches(epoch: int | None) -> list[tuple[int, np.ndarray]]:
            random = None if epoch is None else np.random.default_rng((self.seed, epoch))
            made = []
            for bucket, rows in enumerate(self._members):
                rows = rows if random is None else random.permutation(rows)
                made += [
                    (bucket, rows[i : i + self.batch]) for i in range(0, len(rows), self.batch)
                ]
            return made if random is None else [made[i] for i in random.permutation(len(made))]

        return batches

    def __call__(self, step: int) -> Padded:
        epoch, i = divmod(errors.check_count("Buckets", "step", step, 0), self.per_epoch)
        return self._gather(*self._epoch(epoch)[i])

    def ordered(self) -> Iterator[Padded]:
        """Every row once, short ones first, for evaluation; `Padded.index` says where results
        belong.
        """
        for bucket, rows in self._epoch(None):
            yield self._gather(bucket, rows)

    def _gather(self, bucket: int, rows: np.ndarray) -> Padded:
        index = np.full(self.batch, -1, np.int32)
        index[: len(rows)] = rows
        columns, masks, shape = [], [], iter(self.shapes[bucket])
        for part in self._parts:
            if isinstance(part, Ragged):
                step = np.arange(next(shape))[:, None]
                mask = (step < part.lengths[index]) & (index >= 0)
                column = part.flat[np.where(mask, part.starts[index] + step, 0)]
                column[~mask] = 0
            else:
                column, mask = part[index], None
                column[index < 0] = 0
            columns.append(column)
            masks.append(mask)
        return Padded(tuple(columns), tuple(masks), index >= 0, index)


def pad(rows: Sequence[Any], steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Ragged rows `[t_i, ...]` side by side as `[T, N, ...]`, zero past their ends, and their
    lengths `[N]`; T is `steps`, or the longest.

    Raises:
      TypeError: for rows that hold no numbers, or steps that are no integer.
      ValueError: for no rows, rows that differ in features, or one longer than `steps`.

    Example:
      >>> column, lengths = pad([np.array([7, 8]), np.array([9])])
      >>> column.T.tolist(), lengths.tolist()
      ([[7, 8], [9, 0]], [2, 1])
    """
    arrays = rows_of("pad", "", rows)
    errors.check_padded(arrays)
    lengths = np.array([len(row) for row in arrays], np.int32)
    longest = int(lengths.max())
    if steps is not None:
        steps = errors.check_count("pad", "steps", steps, 0)
        errors.check_longest(longest, steps)
        longest = steps
    column = np.zeros(
        (longest, len(arrays), *arrays[0].shape[1:]),
        np.result_type(*{row.dtype for row in arrays if row.size} or {np.dtype(np.int32)}),
    )
    for i, row in enumerate(arrays):
        column[: len(row), i] = row
    return column, lengths


def boundaries(lengths: np.ndarray, batch: int, buckets: int) -> np.ndarray:
    """Where to cut rows `[N, columns]`, sorted by total length, so that the steps computed in an
    epoch are fewest.

    The least cost of the first j rows in k buckets follows from the costs in k-1 buckets. Only the
    ends of runs of equal length are tried as j, at most `LEVELS` of them.
    """
    total = lengths.sum(1)
    ends = np.append(np.flatnonzero(np.diff(total)) + 1, len(total))
    if len(ends) > LEVELS:
        ends = np.unique(ends[np.linspace(0, len(ends) - 1, LEVELS).astype(int)])
    begins = np.append(0, ends[:-1])
    longest = np.maximum.reduceat(lengths, begins)
    size = len(ends)
    cost = np.full((size, size), np.inf)  # of one bucket from level i to level j
    for i in range(size):
        count = -(-(ends[i:] - begins[i]) // batch) * batch
        cost[i, i:] = count * np.maximum.accumulate(longest[i:]).sum(1)
    best, cuts = cost[0], []
    for _ in range(min(buckets, size) - 1):
        through = best[:-1, None] + cost[1:]  # the last bucket begins at level i + 1
        first = through.argmin(0)
        split = through.min(0)
        better = split < best  # one more bucket, only where it saves something
        cuts.append(np.where(better, first, -1))
        best = np.where(better, split, best)
    places, level = [], size - 1
    for first in reversed(cuts):
        if first[level] >= 0:
            level = first[level]
            places.append(ends[level])
    return np.array(places[::-1], int)


def listed(column: Any) -> Any:
    """A column of numbers as an array; one of arrays as it is."""
    if isinstance(column, Sequence) and column:
        first = column[0]
        if getattr(first, "ndim", None) == 0 or not hasattr(first, "__len__"):
            return np.asarray(column)
    return column


def plain(column: Any) -> bool:
    """Whether a column is an array, one entry a row."""
    return not isinstance(column, Sequence)


def ragged(place: int, column: Sequence[Any]) -> Ragged:
    """A list of rows as one array, and where each row begins."""
    rows = rows_of("Buckets", f" of column {place}", column)
    errors.check_rows(place, rows)
    lengths = np.array([len(row) for row in rows])
    return Ragged(np.concatenate(rows), np.append(0, np.cumsum(lengths)[:-1]), lengths)


def rows_of(who: str, where: str, column: Any) -> list[np.ndarray]:
    """The rows of a ragged column as arrays."""
    errors.check_list(who, column)
    rows = []
    for i, row in enumerate(column):
        try:
            rows.append(np.asarray(row))
        except (TypeError, ValueError):  # rows within a row that differ
            rows.append(np.empty(0, object))
        errors.check_row(who, i, where, row, rows[-1])
    return rows
