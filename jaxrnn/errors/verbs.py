"""What the verbs check of a call: the cell, its params, inputs, states, flags and strategy."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.errors.message import describe, error, same_shape


def check_cell(cell: Any, kind: type) -> None:
    if not isinstance(cell, kind):
        made = " (the class itself)" if isinstance(cell, type) else ""
        raise error(
            TypeError,
            cell,
            f"a {type(cell).__name__}{made} where a cell is due",
            "an instance of jaxrnn.Layer",
            "Pass a cell such as LSTM(128).",
        )
    try:
        hash(cell)
    except TypeError as why:
        raise error(
            TypeError,
            cell,
            f"a cell that cannot be hashed ({why})",
            "fields that hash, since a cell is static configuration",
            "Use tuples instead of lists and numbers or strings instead of arrays; "
            "arrays belong in params.",
        ) from None


def check_params(cell: Any, params: Any, need: Any, x: Any, by_inputs: bool = True) -> None:
    """Params against what `cell.init` would make for inputs like `x`, child by child, so that the
    message names the leaf. `by_inputs` says that inputs of another size would fit them.
    """
    if inner := getattr(cell, "params_of", None):  # transformed params are not checked here
        return check_params(inner, params, need, x, by_inputs)
    children = getattr(cell, "children", ())
    if children:
        check_children(cell, children, params, need)
        for child, part, needed in zip(
            children, cell.split(params), jax.eval_shape(cell.split, need), strict=True
        ):
            check_params(child, part, needed, x, by_inputs)
    elif cell.takes_memory and isinstance(params, dict) and "bound" not in params:
        raise not_bound(cell)
    needed, given = unbound(need), unbound(params)
    name = jax.tree_util.keystr
    missing, extra = (
        [name(p) for p in needed if p not in given],
        [name(p) for p in given if p not in needed],
    )
    if missing or extra:
        raise error(
            ValueError,
            cell,
            f"params with {', '.join(map(name, given)) or 'no leaves'}",
            f"{', '.join(map(name, needed)) or 'no leaves'}"
            + (f" (missing {', '.join(missing)})" if missing else "")
            + (f" (unknown {', '.join(extra)})" if extra else ""),
            "Are these the params of another cell? Make them with cell.init(key, x).",
        )
    for path, leaf in given.items():
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise error(
                TypeError,
                cell,
                f"params{name(path)} as a {type(leaf).__name__}",
                "an array",
                "Pass jnp.asarray of it.",
            )
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise error(
                TypeError,
                cell,
                f"params{name(path)} {describe(leaf)}",
                "a floating array",
                "Cast it with astype(jnp.float32).",
            )
        if not same_shape(leaf.shape, needed[path].shape):
            do = (
                "Pass inputs with the feature size that the params were made for, "
                "or make params with cell.init(key, x)."
                if by_inputs
                else "Are these the params of a cell of another size? Check its fields, "
                "or make params with cell.init(key, x)."
            )
            raise error(
                ValueError,
                cell,
                f"params{name(path)} {describe(leaf)} with inputs of {jax.tree.map(describe, x)}",
                f"params{name(path)} of shape {needed[path].shape} for such inputs",
                do,
            )


def fits_other_inputs(params: Any, need: Any, wider: Any) -> bool:
    """Whether params differ from those needed only where the size of the inputs shows, as it does
    in the params for wider inputs.
    """
    trees = (params, need, wider)
    if len({jax.tree.structure(tree) for tree in trees}) > 1:
        return True
    for got, want, other in zip(*map(jax.tree.leaves, trees), strict=True):
        shapes = [getattr(a, "shape", ()) for a in (got, want, other)]
        if len({len(shape) for shape in shapes}) > 1:
            return False
        if any(a != b == c for a, b, c in zip(*shapes, strict=True)):
            return False
    return True


def unbound(params: Any) -> dict[tuple, Any]:
    """The leaves by their paths, a bound memory's left out."""
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return {
        path: leaf
        for path, leaf in leaves
        if not any(getattr(entry, "key", None) == "bound" for entry in path)
    }


def like(params: Any, need: Any) -> bool:
    """Whether params are floating arrays with the structure and the shapes of those needed."""
    if jax.tree.structure(params) != jax.tree.structure(need):
        return False
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(need), strict=True)
    return all(
        hasattr(a, "dtype")
        and jnp.issubdtype(a.dtype, jnp.floating)
        and same_shape(a.shape, b.shape)
        for a, b in pairs
    )


def check_children(cell: Any, children: tuple, params: Any, need: Any) -> None:
    keyed = isinstance(need, dict)
    if (
        type(params) is not type(need)
        or len(params) != len(need)
        or (keyed and params.keys() != need.keys())
    ):
        got = (
            f"params of {len(params)} parts"
            if isinstance(params, tuple)
            else f"params with keys {', '.join(map(repr, params))}"
            if isinstance(params, dict)
            else f"params as a {type(params).__name__}"
        )
        parts = (
            f"with keys {', '.join(map(repr, need))}"
            if keyed
            else f"of {len(need)}, params for its {len(children)} children"
        )
        raise error(
            ValueError,
            cell,
            got,
            f"a {type(need).__name__} {parts}",
            "Are these the params of another cell? Make them with cell.init(key, x).",
        )
    for part, needed in zip(cell.split(params), jax.eval_shape(cell.split, need), strict=True):
        if isinstance(needed, dict) and not isinstance(part, dict):
            raise error(
                ValueError,
                cell,
                f"a child's params as a {type(part).__name__}",
                "a dict",
                "Make them with cell.init(key, x).",
            )


def check_state(cell: Any, state: Any, need: Any, source: str = "state") -> None:
    """A state against the structure, shapes and dtypes that `initial_state` gives."""
    do = {
        "state": "Make it with cell.initial_state(params, batch_shape), "
        "or take it from an earlier call with the same batch.",
        "state before the step": "Make it with cell.initial_state(params, batch_shape); "
        "x is one step, without a time axis.",
        "state of these rows": "Make it with initial_state(batch_shape), "
        "or take it from an earlier call with the same batch.",
        "guess": "Take it from the info of an earlier solve of as many steps with the same batch.",
        "coefficients": "Its b must be like the state, leaf by leaf, "
        "with a leading time axis where z has one (cast with astype).",
        "step": "A step must return the state it was given, "
        "with the same structure, shapes and dtypes (cast with astype).",
    }[source]
    if jax.tree.structure(state) != jax.tree.structure(need):
        raise error(
            ValueError,
            cell,
            f"a {source} {jax.tree.map(describe, state)}",
            f"{jax.tree.map(describe, need)}",
            do,
        )
    for got, want in zip(jax.tree.leaves(state), jax.tree.leaves(need), strict=True):
        if (
            not hasattr(got, "shape")
            or not same_shape(got.shape, want.shape)
            or got.dtype != want.dtype
        ):
            raise error(
                ValueError, cell, f"a {source} with a leaf {describe(got)}", describe(want), do
            )


def not_causal(cell: Any, verb: str) -> Exception:
    culprit = cell
    while culprit_child := next(
        (c for c in getattr(culprit, "children", ()) if not c.causal), None
    ):
        culprit = culprit_child
    where = (
        "a cell that looks ahead"
        if culprit is cell
        else f"a network that looks ahead, in {culprit!r}"
    )
    return error(
        ValueError,
        cell,
        f"{verb} of {where}: its output at t depends on the steps after t",
        "a causal network, since "
        + (
            "one step is given at a time"
            if verb == "advance"
            else f"{verb} cuts time into pieces and sees one at a time"
        ),
        "Use unroll over the whole sequence, "
        "or a cell that reads forward only in place of Bidirectional.",
    )


def child_runs(cell: Any, runs: list[int]) -> Exception:
    return error(
        ValueError,
        cell,
        f"a compose that ran its children {runs} times",
        "each child run exactly once",
        "Share weights by giving one child and reusing its output.",
    )


def not_a_leaf(cell: Any, inner: Any) -> Exception:
    return error(
        TypeError,
        type(cell).__name__,
        f"{inner!r}",
        "a single recurrent cell, since it changes that cell's step",
        f"Wrap the cells inside it: Stack(({type(cell).__name__}(a), {type(cell).__name__}(b))).",
    )


def not_bound(cell: Any) -> Exception:
    return error(
        ValueError,
        cell,
        "params with no memory bound",
        "a memory to look at, [S, *batch, M]",
        "Bind it for the whole network: params = net.bind(params, memory, mask).",
    )


def wrong_reverse(cell: Any, reverse: Any) -> Exception:
    do = "It is static: pass a Python bool, reverse=True or reverse=False."
    return error(TypeError, cell, f"reverse={reverse!r}", "True or False", do)


def check_fold(cell: Any, f: Any) -> None:
    """A function of an accumulator, params, outputs, extra and mask."""
    need, do = "f(acc, params, ys, extra, mask)", "Write fold(cell, params, xs, f, init)."
    if not callable(f):
        raise error(TypeError, cell, f"f={f!r}", need, do)
    try:
        inspect.signature(f).bind(*need.split(","))
    except TypeError:
        raise error(TypeError, cell, f"f{inspect.signature(f)}", need, "Take all five.") from None
    except ValueError:  # a builtin without a signature
        pass


def check_accumulator(cell: Any, new: Any, old: Any) -> None:
    """What `fold`'s function returns is like what it was given."""
    got, need = (
        jax.tree.map(lambda a: describe(jnp.asarray(a)) if numeric(a) else describe(a), tree)
        for tree in (new, old)
    )
    if got != need:
        do = "Begin with such an accumulator, jnp.float32(0) for a sum, and return one like it."
        raise error(ValueError, cell, f"f that makes {got} of {need}", "an f that keeps it", do)


def numeric(a: Any) -> bool:
    """Whether a leaf is an array or a Python number."""
    return isinstance(a, jax.Array | np.ndarray | np.generic | bool | int | float | complex)
