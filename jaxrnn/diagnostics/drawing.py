"""What the plots share: figures, names of arrays, means on a log scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxrnn import errors


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure and its panels, row by row."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise errors.missing_package("matplotlib", "it draws", "examples") from None
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def named(who: str, tree: Any, axes: int, kind: Any = None) -> Iterator[tuple[str, Any]]:
    """The arrays of a tree, of so many axes at least, or what is of a kind, with their places as
    names: `layer 1.0 c` for `tree[1][0].c`.
    """
    leaf = None if kind is None else lambda node: isinstance(node, kind)
    leaves = jax.tree_util.tree_flatten_with_path(tree, is_leaf=leaf)[0]
    if not leaves:
        raise errors.nothing_to_draw(who, "a tree without arrays")
    for path, found in leaves:
        errors.check_drawn(who, found, axes, kind)
        numbers = [str(entry.idx) for entry in path if hasattr(entry, "idx")]
        names = [str(getattr(e, "name", getattr(e, "key", ""))) for e in path]
        layer = ["layer " + ".".join(numbers)] if numbers else []
        shown = " ".join([*layer, *filter(None, names)]) or "state"
        yield shown, np.asarray(found) if kind is None else found


def positive(a: np.ndarray) -> np.ndarray:
    """What a log scale can show."""
    return np.where(a > 0, a, np.nan)


def geometric(rows: np.ndarray) -> np.ndarray:
    """The geometric mean over the last axis, of the numbers above zero."""
    logs = np.log(positive(rows))
    count = np.sum(~np.isnan(logs), axis=-1)
    total = np.nansum(logs, axis=-1)
    return np.where(count > 0, np.exp(total / np.maximum(count, 1)), np.nan)


def three_colours() -> Any:
    """For what is finite, infinite, and no number."""
    from matplotlib.colors import ListedColormap

    return ListedColormap(["#dde8f0", "#f0a030", "#c02020"])
