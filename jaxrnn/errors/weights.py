"""What transforms of weights refuse."""

from typing import Any

import jax

from jaxrnn.errors.message import describe, error


def check_names(owner: Any, names: Any) -> None:
    """The keys of weights that a transform acts on."""
    if not isinstance(names, tuple) or not names or not all(isinstance(n, str) for n in names):
        got, need = f"names={names!r}", "a tuple of the keys of weights, at least one"
        raise error(TypeError, type(owner).__name__, got, need, 'Pass names=("w_h",).')


def check_static_function(owner: Any, name: str, f: Any) -> None:
    """A function by which a compiled program is found, of a cell or of a verb."""
    do = "Pass a function, or an instance of a frozen dataclass that can be called."
    who = owner if isinstance(owner, str) else type(owner).__name__
    if not callable(f) or isinstance(f, type):
        raise error(TypeError, who, f"{name}={f!r}", "a function", do)
    try:
        hash(f)
    except TypeError as why:
        got = f"{name}={f!r}, which cannot be hashed ({why})"
        raise error(TypeError, who, got, "a function that hashes, since it is static", do) from None


def takes_a_key(cell: Any, transform: Any) -> Exception:
    got, need = f"{transform!r}, which takes a key", "a function of params alone"
    do = "Call it before the verb, once a sequence: unroll(cell, drop(params, key), xs)."
    return error(TypeError, type(cell).__name__, got, need, do)


def no_such_weights(transform: Any, params: Any) -> Exception:
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    got = ", ".join(map(jax.tree_util.keystr, paths)) or "no leaves"
    need = f"a leaf under one of the keys {', '.join(map(repr, transform.names))}"
    do = "Pass names=(...), the last keys of the weights it is for."
    return error(ValueError, transform, f"params with {got}", need, do)


def check_matrix(transform: Any, w: Any) -> None:
    if w.ndim != 2:
        got, need = f"a weight {describe(w)}", "a matrix, a row for each unit that sends"
        raise error(ValueError, transform, got, need, "Leave its key out of names.")


def check_blocks(transform: Any, w: Any) -> None:
    if w.ndim != 2 or not w.shape[0] or w.shape[1] % w.shape[0]:
        got, need = f"a weight {describe(w)}", "square blocks side by side, [H, G*H]"
        do = "Leave its key out of names; w_h of an LSTM has such blocks without a projection."
        raise error(ValueError, transform, got, need, do)


def check_connections(transform: Any, mask: Any, w: Any) -> None:
    """A mask of connections, which must broadcast to its weight."""
    pairs = zip(reversed(mask.shape), reversed(w.shape), strict=False)
    if mask.ndim > w.ndim or any(m not in (1, n) for m, n in pairs):
        got = f"a mask of shape {mask.shape} for a weight {describe(w)}"
        need = f"a shape that broadcasts to {w.shape}"
        do = "Gates lie side by side in the columns: repeat a mask [H, H] with jnp.tile(mask, G)."
        raise error(ValueError, transform, got, need, do)


def check_transformed(cell: Any, made: Any, raw: Any) -> None:
    """Transformed params, which must be like the raw ones."""
    do = "Return params like those it was given; cast with astype(w.dtype)."
    given, tree = jax.tree_util.tree_flatten_with_path(raw)
    if jax.tree.structure(made) != tree:
        got, need = (str(jax.tree.map(describe, params)) for params in (made, raw))
        raise error(ValueError, cell, f"transformed params {got}", need, do)
    for (path, want), leaf in zip(given, jax.tree.leaves(made), strict=True):
        if describe(leaf) != describe(want):
            got = f"transformed params{jax.tree_util.keystr(path)} {describe(leaf)}"
            raise error(ValueError, cell, got, describe(want), do)
