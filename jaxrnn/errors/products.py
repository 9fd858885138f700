"""What `dot` refuses: names that params do not have, shapes that do not multiply or add."""

from typing import Any

from jaxrnn.errors.message import describe, error

_INDEX = "Name a leaf of the params; dot[key] goes one level down."


def check_product(path: tuple, name: Any, x: Any, w: Any, cuts: tuple[int, ...]) -> None:
    """What `dot(x, name)` multiplies."""
    here = _call("dot(x, {})", path, name)
    for part, a in (("an x", x), (f"{name!r}", w)):
        if not (hasattr(a, "ndim") and hasattr(a, "dtype")):
            raise error(TypeError, here, f"{part} that is a {type(a).__name__}", "an array", _INDEX)
    if w.ndim != 2:
        do = "Add a vector with dot.add(z, name)." if w.ndim == 1 else "Use jnp.einsum for it."
        raise error(ValueError, here, describe(w), "a matrix [F, G]", do)
    if x.ndim < 1 or x.shape[-1] != w.shape[0]:
        got = f"x {describe(x)} and {describe(w)}"
        do = "Look at which weight this input belongs to."
        raise error(ValueError, here, got, "x [..., F] and w [F, G]", do)
    if list(cuts) != sorted(set(cuts)) or any(not 0 < c < w.shape[1] for c in cuts):
        need = f"rising columns between 0 and {w.shape[1]}"
        raise error(
            ValueError, here, f"cuts {cuts}", need, "Cut before the first column of a block."
        )


def check_bias(path: tuple, name: Any, z: Any, b: Any, start: int) -> None:
    """What `dot.add(z, name, start)` adds."""
    here = _call("dot.add(z, {})", path, name)
    if not (hasattr(b, "ndim") and hasattr(b, "dtype")):
        raise error(TypeError, here, f"a {type(b).__name__}", "an array", _INDEX)
    if b.ndim != 1 or b.shape[0] < start + z.shape[-1]:
        got, need = (
            f"z {describe(z)} and {describe(b)}",
            f"a bias [{start + z.shape[-1]}] or longer",
        )
        raise error(ValueError, here, got, need, "Look at which bias belongs to this z.")


def no_param(path: tuple, name: Any, params: Any) -> Exception:
    """A name under which there is no param."""
    known = _names(params)
    got = f"no param {name!r} in a {type(params).__name__}"
    do = "Name one of them, or pass the matrix itself: dot(x, w)."
    kind = IndexError if isinstance(params, tuple | list) else KeyError
    return error(kind, _call("dot", path, name), got, f"one of {known}", do)


def _names(params: Any) -> str:
    try:
        keys = list(params.keys()) if hasattr(params, "keys") else list(range(len(params)))
    except TypeError:
        return "what it can be indexed with"
    return ", ".join(map(repr, keys))


def _call(form: str, path: tuple, name: Any) -> str:
    label = describe(name) if hasattr(name, "ndim") else repr(name)
    prefix = "".join(f"[{key!r}]" for key in path)
    return form.format(label).replace("dot", f"dot{prefix}", 1)
