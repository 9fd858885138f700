"""Pictures: a figure in one style and of a small size, and what several experiments draw."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


@contextlib.contextmanager
def figure(
    path: pathlib.Path,
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (8, 4.5),
    limit: int = 200_000,
) -> Iterator[Any]:
    """Axes to draw on, one or an array of them, saved in the end as a PNG of at most `limit` bytes,
    in fewer dots where it must be."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    drawn, axes = plt.subplots(rows, columns, figsize=size, layout="constrained")
    for one in np.ravel(axes):
        one.grid(alpha=0.25)
        one.spines[["top", "right"]].set_visible(False)
    try:
        yield axes
        path.parent.mkdir(parents=True, exist_ok=True)
        for dots in (130, 110, 90, 70, 50):
            drawn.savefig(path, dpi=dots)
            if path.stat().st_size <= limit:
                break
    finally:
        plt.close(drawn)


def confusion(axes: Any, counts: Any, labels: Sequence[str]) -> None:
    """Draw how often each class was taken for each, a row's colours its shares, with the counts
    where they are few enough to read."""
    counts = np.asarray(counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # The root, so that the few mistakes are seen.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    axes.grid(False)
    places = range(len(labels))
    axes.set_xticks(places, labels, rotation=0 if max(map(len, labels)) < 4 else 45)
    axes.set_yticks(places, labels)
    if len(labels) <= 20:
        for i, row in enumerate(counts):
            for j, count in enumerate(row):
                if count:
                    axes.text(
                        j,
                        i,
                        str(count),
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="white" if shares[i, j] > 0.5 else "#202020",
                    )


def heat(axes: Any, across: Sequence[str], down: Sequence[str], weights: Any) -> None:
    """Draw where an attention looks: a row for each token that is written, a column for each place
    of what is read."""
    axes.imshow(np.asarray(weights), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.grid(False)
    long = max(map(len, across), default=0) > 3
    axes.set_xticks(
        range(len(across)), across, rotation=40 if long else 0, ha="right" if long else "center"
    )
    axes.set_yticks(range(len(down)), down)
