"""Gates in another library's order."""

from typing import Any

import numpy as np


def blocks(array: Any, order: tuple[int, ...]) -> Any:
    """The last axis's blocks in another order: the new k-th is the old `order[k]`-th."""
    size = array.shape[-1] // len(order)
    return array[..., np.concatenate([np.arange(size) + size * k for k in order])]
