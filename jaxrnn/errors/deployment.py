"""What exporting a network, and running what was exported, refuse."""

import math
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.errors.inputs import check_array
from jaxrnn.errors.message import describe, error, same_shape
from jaxrnn.errors.models import missing_package
from jaxrnn.errors.saving import bad_file, short


def check_platforms(platforms: Any, known: tuple[str, ...]) -> None:
    """Names of platforms, each once."""
    need, do = f"some of {', '.join(map(repr, known))}", 'Write platforms=("cpu", "cuda").'
    if isinstance(platforms, str) or not isinstance(platforms, tuple | list):
        raise error(TypeError, "export", f"platforms={platforms!r}", f"a tuple of {need}", do)
    twice = len(set(map(str, platforms))) < len(platforms)
    if not platforms or twice or not all(name in known for name in platforms):
        do += ' JAX calls a GPU "cuda" or "rocm".' if "gpu" in platforms else ""
        raise error(ValueError, "export", f"platforms={platforms!r}", need, do)


def memory_not_exported(layer: Any) -> Exception:
    do = "Export the part below it, and bind the memory in Python."
    return error(ValueError, layer, "a layer that takes a memory", "one without", do)


def check_custom_calls(custom_calls: Any) -> None:
    """Names of functions that programs may call."""
    if isinstance(custom_calls, str) or not isinstance(custom_calls, Collection):
        got, need = f"custom_calls={custom_calls!r}", "a tuple of names"
        do = 'Write custom_calls=("tpu_custom_call",).'
        raise error(TypeError, "load_exported", got, need, do)


def no_flatbuffers() -> Exception:
    return missing_package("flatbuffers", "JAX writes and reads programs with it", "export")


def reason(why: Exception) -> str:
    """What another library says, in one line that ends."""
    text = " ".join(str(why).split())
    return text if len(text) <= 400 else text[:397] + "..."


def not_exported(layer: Any, strategy: Any, platforms: Any, name: str, why: Exception) -> Exception:
    got = f"{name} by {strategy} for {', '.join(platforms)}, which fails ({reason(why)})"
    need = "programs for any number of steps and rows"
    return error(ValueError, layer, got, need, "Export with strategy=Scan(), or fewer platforms.")


def bad_program(path: Any, name: str, writer: str, why: Exception) -> Exception:
    need = f"one that JAX {jax.__version__} reads"
    do = "JAX reads programs of up to half a year before it, and three weeks after: export again."
    got = f"a program {name} of JAX {short(writer)} ({reason(why)})"
    return error(ValueError, str(path), got, need, do)


def unknown_calls(path: Any, name: str, calls: Collection[str]) -> Exception:
    names = ", ".join(map(short, sorted(calls)))
    need = "calls of JAX's own linear algebra alone"
    do = f"If you trust who wrote it: custom_calls={tuple(sorted(calls))!r}."
    return error(ValueError, str(path), f"a program {name} that calls {names}", need, do)


def other_programs(path: Any) -> Exception:
    return bad_file(path, "programs that do not fit each other", "those that export writes")


def other_platforms(platforms: Collection[str], here: str) -> Exception:
    got, need = f"programs for {', '.join(platforms)}", f"programs for {here}, which is here"
    return error(ValueError, "Exported", got, need, f'Export with platforms=("{here}", ...).')


def no_step(layer: str) -> Exception:
    got, need = f"step of {layer}", "a causal layer, whose output needs no later input"
    return error(ValueError, "Exported", got, need, "Run whole sequences with sequence(xs).")


def check_exported_sizes(
    who: str, batch: tuple[int, ...], steps: int | None, sizes: tuple[int | None, int | None]
) -> None:
    """Steps and rows: at least one of each, and as many as a program is for."""
    rows = math.prod(batch)
    for name, got, size in (("steps", steps, sizes[0]), ("rows", rows, sizes[1])):
        if got is not None and got < 1:
            do = "Leave the call out where there is nothing to compute."
            raise error(ValueError, who, f"{got} {name}", "at least one", do)
        if None not in (got, size) and got != size:
            do = f"Pad to {size} under a mask, or export without {name}={size}."
            raise error(ValueError, who, f"{got} {name}", f"{size}, as it was exported", do)


def check_program_input(who: str, name: str, x: Any, need: Any, time: int) -> tuple[int, ...]:
    """A program's inputs against the spec of one row's step: the batch axes that they have."""
    if jax.tree.structure(x) != jax.tree.structure(need):
        got, want = (f"{jax.tree.map(describe, tree)}" for tree in (x, need))
        raise error(TypeError, who, f"{name} as {got}", want, "Pass arrays in this structure.")
    batch = None
    pairs = zip(jax.tree_util.tree_flatten_with_path(x)[0], jax.tree.leaves(need), strict=True)
    for (place, leaf), spec in pairs:
        label = name + jax.tree_util.keystr(place)
        check_array(who, label, leaf)
        axes, count = ("T, ..., " if time else "..., "), leaf.ndim - len(spec.shape)
        want = f"{spec.dtype}[{(axes + ', '.join(map(str, spec.shape))).rstrip(', ')}]"
        if count < time or leaf.shape[count:] != spec.shape:
            do = f"Call {'step for one step' if time else 'sequence for a whole sequence'}."
            do = do if leaf.shape[max(count, 0) :] == spec.shape else "Is it of another network?"
            raise error(ValueError, who, f"{label} {describe(leaf)}", want, do)
        kinds = (jnp.floating, jnp.integer, jnp.bool_)
        kind = next(kind for kind in kinds if jnp.issubdtype(spec.dtype, kind))
        if not jnp.issubdtype(leaf.dtype, kind):
            do = f"Cast with astype({spec.dtype})."
            raise error(TypeError, who, f"{label} {describe(leaf)}", want, do)
        lead = leaf.shape[:count]
        if not same_shape(lead, lead if batch is None else batch):
            do = "All arrays of an input have the same time and batch axes."
            raise error(ValueError, who, f"{label} {describe(leaf)}", f"the axes {batch}", do)
        batch = lead
    assert batch is not None
    return batch
