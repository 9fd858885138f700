"""The laws every cell obeys, as a check of any cell: the library's own or yours."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.layer import Layer
from jaxrnn.strategies import Chunked, Scan, Strategy
from jaxrnn.testing import contract as _contract
from jaxrnn.testing import derivatives as _derivatives
from jaxrnn.testing import laws as _laws
from jaxrnn.testing.inputs import Given, example
from jaxrnn.testing.observe import LAWS as LAWS
from jaxrnn.testing.observe import TOLERANCE

__all__ = ["LAWS", "LawError", "check_cell"]
from jaxrnn.testing.observe import LawError as LawError


def check_cell(
    cell: Layer,
    x: Any,
    *,
    key: jax.Array | None = None,
    laws: Iterable[int] | None = None,
    strategies: Iterable[Strategy] = (Scan(unroll=2), Chunked(2), Chunked(3, remat=False)),
    dtypes: Iterable[Any] = (jnp.bfloat16, jnp.float32),
) -> None:
    """Check a cell against the laws, in values and in gradients by params, inputs and first state.

        1  unroll is a loop over advance
        2  a strategy never changes the answer
        3  what is masked changes nothing
        4  a reset begins a new sequence
        5  a batch is its rows
        6  every mode of differentiation, finite differences included
        7  equal cells are one, and a step keeps its state's kind

    Params, states and inputs are random, of a few steps and rows; most of the time taken is
    compilation.

    Args:
      cell: any cell, leaf or composite.
      x: an example input, its spec or a number of features, as for `cell.init`. For tokens, the
        largest one in an example array bounds the random tokens.
      key: a PRNG key for params and data.
      laws: the numbers of the laws to check, all of them by default.
      strategies: the strategies that law 2 compares with `Scan()`.
      dtypes: the dtypes of params that law 7 holds the cell to: a state that is float32 or wider
        (`jaxrnn.state_dtype`), outputs in the params' dtype (`jaxrnn.output`), and an answer near
        that of float32. Where a cell is for float32 alone, pass `(jnp.float32,)`.

    Raises:
      LawError: an AssertionError that says which law broke, where, and by how much.
      TypeError, ValueError: for anything but a cell, an input, a key, and numbers of laws,
        strategies and dtypes that there are.

    Example:
      >>> check_cell(LSTM(3), 2, laws=(7,))
    """
    errors.check_cell(cell, Layer)
    chosen = errors.check_laws(cell, LAWS if laws is None else laws, LAWS)
    strategies = errors.check_strategies(cell, strategies, Strategy)
    dtypes = errors.check_dtypes(cell, dtypes, TOLERANCE)
    if key is not None:
        errors.check_key("check_cell", key)
    given = example(cell, x, jax.random.key(0) if key is None else key)
    # The last law first: a step that changes its state's kind could not be run.
    for law in sorted(chosen, key=lambda n: (n != 7, n)):
        check_law(law, cell, given, strategies, dtypes)


def check_law(
    law: int,
    cell: Layer,
    given: Given,
    strategies: tuple[Strategy, ...],
    dtypes: tuple[Any, ...],
) -> None:
    """Check one law, in both directions of time where it has them."""
    both = (False, True)
    checks = {
        1: lambda: [_laws.advancing(cell, given, reverse) for reverse in both],
        2: lambda: [
            # A causal cell meets the last of several strategies in `fold`, which runs the same.
            _laws.strategic(
                cell,
                given,
                strategies[:-1] if cell.causal and len(strategies) > 1 else strategies,
                folded=strategies[-1] if strategies else None,
            ),
            # Reversed the last strategy is enough, there too.
            _laws.strategic(
                cell,
                given,
                () if cell.causal else strategies[-1:],
                reverse=True,
                folded=strategies[-1] if strategies else None,
            ),
        ],
        3: lambda: [_laws.masked(cell, given, reverse) for reverse in both],
        4: lambda: [_laws.reset(cell, given, reverse) for reverse in both],
        5: lambda: _laws.batched(cell, given),
        6: lambda: _derivatives.differentiated(cell, given),
        7: lambda: _contract.consistent(cell, given, dtypes),
    }
    try:
        checks[law]()
    except LawError:
        raise
    except Exception as error:
        raise LawError(law, cell, f"it raised {type(error).__name__}: {error}") from error
