"""What attention refuses: a memory that does not fit, a cell that cannot attend."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.errors.inputs import check_array, check_flags
from jaxrnn.errors.message import describe, error


def check_memory(cell: Any, memory: Any, mask: Any, width: int) -> None:
    """A memory to be bound, `[S, *batch, M]`, and its mask."""
    check_array(cell, "a memory", memory)
    if not jnp.issubdtype(memory.dtype, jnp.floating):
        raise error(
            TypeError,
            cell,
            f"a memory {describe(memory)}",
            "floating features",
            "Bind an encoder's outputs.",
        )
    if memory.ndim < 2 or memory.shape[-1] != width:
        raise error(
            ValueError,
            cell,
            f"a memory {describe(memory)}",
            f"[S, *batch, {width}], since memory={width}",
            "Give memory= the width of what is bound: "
            "twice an encoder's hidden size after Bidirectional.",
        )
    if mask is not None:
        check_flags(cell, "mask", mask, memory.shape[:-1])


def memory_batch(cell: Any, memory: tuple[int, ...], batch: tuple[int, ...]) -> Exception:
    return error(
        ValueError,
        cell,
        f"a memory bound with batch axes {memory} and inputs with batch axes {batch}",
        "inputs whose batch begins with the memory's, or a memory without batch axes",
        "Bind a memory [S, *batch, M] for the same rows; beams come after the batch, [B, K].",
    )


def no_size(cell: Any) -> Exception:
    return error(
        ValueError,
        type(cell).__name__,
        f"size={cell.size} with score='multiplicative'",
        "size=None, since nothing is projected to it",
        "Leave size out, or pass score='additive'.",
    )


def no_room(cell: Any, inner: Any, z: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"{inner!r}, whose z is {jax.tree.map(describe, z)}",
        "a cell whose z is floating arrays [T, ..., Z], to which the context is added",
        f"Put noise around it, Zoneout({type(cell).__name__}(LSTM(8), ...), 0.1), "
        "or use Attention after it.",
    )
