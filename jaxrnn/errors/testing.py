"""What `check_cell` refuses: its own arguments, not the cell."""

from collections.abc import Collection, Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn.errors.message import error


def check_laws(cell: Any, laws: Any, known: Collection[int]) -> tuple[int, ...]:
    """The numbers of the laws to check."""
    need, do = f"numbers among {sorted(known)}", "Pass laws=(1, 7), or leave laws out to check all."
    if isinstance(laws, str) or not isinstance(laws, Iterable):
        raise error(TypeError, cell, f"laws={laws!r}", f"a tuple of {need}", do)
    chosen = tuple(laws)
    unknown = [law for law in chosen if type(law) is not int or law not in known]
    if unknown or not chosen:
        raise error(ValueError, cell, f"laws {unknown or 'of no number'}", need, do)
    return chosen


def check_strategies(cell: Any, strategies: Any, kind: type) -> tuple[Any, ...]:
    """The strategies that the second law compares."""
    if isinstance(strategies, Iterable) and not isinstance(strategies, str):
        made = tuple(strategies)
        if all(isinstance(one, kind) for one in made):
            return made
    got, need = f"strategies={strategies!r}", "a tuple of strategies, instances and not classes"
    raise error(TypeError, cell, got, need, "Pass strategies=(Chunked(2),).")


def check_dtypes(cell: Any, dtypes: Any, known: Collection[str]) -> tuple[np.dtype, ...]:
    """The dtypes of params that a cell is held to."""
    names = ", ".join(known)
    need, do = f"a tuple of dtypes among {names}", "Pass dtypes=(jnp.float32, jnp.bfloat16)."
    if isinstance(dtypes, (str, type)) or not isinstance(dtypes, Iterable):
        raise error(TypeError, cell, f"dtypes={dtypes!r}", need, do)
    made = []
    for one in dtypes:
        try:
            made.append(jnp.dtype(one))
        except TypeError:
            raise error(TypeError, cell, f"{one!r} among dtypes", need, do) from None
    unknown = [one.name for one in made if one.name not in known]
    if unknown or not made:
        raise error(ValueError, cell, f"dtypes {unknown or 'of no entry'}", need, do)
    return tuple(made)
