"""What the linear recurrence refuses."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.errors.message import describe, error

_NAME = "linear_scan"


def _differ(got: tuple, need: tuple, broadcast: bool = False) -> bool:
    """Whether shapes differ for certain: a symbolic size may be any. With `broadcast`, a size of
    one fits, and missing leading axes do.
    """
    if broadcast and len(got) <= len(need):
        need = need[len(need) - len(got) :]
    if len(got) != len(need):
        return True
    pairs = [(x, y) for x, y in zip(got, need, strict=True) if _known(x) and _known(y)]
    return any(x != y and not (broadcast and x == 1) for x, y in pairs)


def _known(size: Any) -> bool:
    """Whether a size is a number, and not a symbol of `jax.export`."""
    return isinstance(size, int)


def _named(name: str, tree: Any) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(name + jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def _shapes(tree: Any) -> Any:
    return jax.tree.map(describe, tree)


def check_floating(who: str, name: str, tree: Any) -> None:
    """A tree of floating arrays, one at least."""
    leaves = _named(name, tree)
    if not leaves:
        raise error(
            ValueError,
            who,
            f"{name}={tree!r}, without arrays",
            "one array at least",
            "Give a recurrence a state.",
        )
    for at, leaf in leaves:
        if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            got = f"{at} as a {type(leaf).__name__}"
            raise error(TypeError, who, got, "an array", "Pass jnp.asarray of it.")
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            got, need = f"{at} {describe(leaf)}", "floating or complex numbers"
            raise error(TypeError, who, got, need, "Cast it with astype(jnp.float32).")


def check_drive(b: Any, start: Any) -> None:
    """`b` against `start`: the same but for a leading time axis."""
    if jax.tree.structure(b) != jax.tree.structure(start):
        got = f"b {_shapes(b)} and start {_shapes(start)}"
        need = "trees of one structure"
        raise error(ValueError, _NAME, got, need, "b is like the state, with time before it.")
    length = None
    for (at, x), (place, h) in zip(_named("b", b), _named("start", start), strict=True):
        got = f"{at} {describe(x)} and {place} {describe(h)}"
        if not x.ndim or _differ(x.shape[1:], h.shape):
            need = "b [T, ...] and start [...] of the same trailing axes"
            do = "Time is axis 0 of b; broadcast start to the shape of one step of b."
            raise error(ValueError, _NAME, got, need, do)
        check_promotion(at, x, h)
        length = x.shape[0] if length is None else length
        if _differ(x.shape[:1], (length,)):
            got = f"{at} {describe(x)} after {length} steps"
            raise error(
                ValueError, _NAME, got, "as many steps in each leaf", "Time is axis 0 of b."
            )


def check_promotion(at: str, x: Any, h: Any) -> None:
    with jax.numpy_dtype_promotion("standard"):
        wide = jnp.promote_types(x.dtype, h.dtype)
    if wide != h.dtype:
        got, need = (
            f"{at} {describe(x)} with a state of {h.dtype}",
            f"a dtype no wider than {h.dtype}",
        )
        raise error(TypeError, _NAME, got, need, f"Cast {at}, or start to {wide}, with astype.")


def wrong_transitions(a: Any, start: Any) -> Exception:
    got = f"a {_shapes(a)} and start {_shapes(start)}"
    need = "a tree like start, with a transition in the place of each part"
    return error(ValueError, _NAME, got, need, "A transition is an array, a Complex or a Matrix.")


def wrong_transition(name: str, a: Any, h: Any) -> Exception:
    got = f"{name} as {_kind(a)} where the state has {_kind(h)}"
    need = "a Complex for a Complex, and an array or a Matrix for an array"
    return error(
        ValueError, _NAME, got, need, "Complex(a, jnp.zeros_like(a)) is a real transition."
    )


def _kind(x: Any) -> str:
    return describe(x) if hasattr(x, "shape") else f"a {type(x).__name__}"


def check_transition(
    name: str, leaf: Any, drive: Any, need: tuple, timed: bool, matrix: bool
) -> None:
    """An array of a transition, of the shape `need` for one step or broadcast to it."""
    check_promotion(name, leaf, drive)
    head = (leaf.shape[:1], leaf.shape[1:]) if timed else ((), leaf.shape)
    time = drive.shape[:1] if timed else ()
    wrong = _differ(head[0], time) or _differ(head[1], need, broadcast=True)
    if matrix:  # its own two axes are not broadcast
        wrong = wrong or not drive.ndim > 1 or _differ(leaf.shape[-2:], need[-2:])
    if wrong:
        full = ", ".join(map(str, need))
        got = f"{name} {describe(leaf)} for b {describe(drive)}"
        wanted = f"[T, {full}], or [{full}] for every step, with T={drive.shape[0]}"
        do = "Leading axes may be left out, but with a time axis all must be there."
        raise error(ValueError, _NAME, got, wanted, do)


def check_time_flags(name: str, flags: Any, b: Any) -> None:
    """A mask or resets: booleans `[T, ...]` of leading axes of every leaf of b, or None."""
    if flags is None:
        return
    if not (hasattr(flags, "shape") and hasattr(flags, "dtype")):
        got = f"{name} as a {type(flags).__name__}"
        raise error(TypeError, _NAME, got, f"{name} as one array", f"Pass jnp.asarray({name}).")
    if flags.dtype != jnp.bool_:
        means = "a step counts" if name == "mask" else "the state is forgotten"
        do = f"Pass {name}.astype(bool), true where {means}."
        raise error(TypeError, _NAME, f"{name} {describe(flags)}", "a boolean array", do)
    for at, x in _named("b", b):
        if not flags.ndim or _differ(flags.shape, x.shape[: flags.ndim]):
            got = f"{name} {describe(flags)} for {at} {describe(x)}"
            do = "Transpose it if the batch comes first, or broadcast it over the batch."
            raise error(ValueError, _NAME, got, "time, then batch, as b begins", do)


def check_radix(who: Any, radix: Any) -> None:
    if radix is None:
        return
    need, do = "2 or more steps, 0 for one loop, or None", "Leave it at None unless measured."
    if not isinstance(radix, int) or isinstance(radix, bool):
        raise error(TypeError, who, f"radix={radix!r}", need, do)
    if radix < 0 or radix == 1:
        raise error(ValueError, who, f"radix={radix!r}", need, do)


def check_loop(reverse: Any, unroll: Any) -> None:
    if not isinstance(reverse, bool):
        got = f"reverse as a {type(reverse).__name__}"
        raise error(TypeError, _NAME, got, "True or False: it is static", "Pass reverse=True.")
    need, do = "a positive integer", "Leave it at 1 unless measured."
    if not isinstance(unroll, int) or isinstance(unroll, bool):
        raise error(TypeError, _NAME, f"unroll={unroll!r}", need, do)
    if unroll < 1:
        raise error(ValueError, _NAME, f"unroll={unroll!r}", need, do)
