"""What decoding refuses. Values are looked at where they are known, shapes and dtypes always."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrnn.errors.arguments import check_within
from jaxrnn.errors.message import describe, error


def wrong_decoding(
    got: str,
    need: str,
    do: str = "See the docstrings of greedy, sample and beam.",
    kind: type[Exception] = ValueError,
) -> Exception:
    return error(kind, "decoding", got, need, do)


def check_setting(
    name: str, value: Any, batch: tuple[int, ...], good: Callable[[Any], Any], need: str
) -> None:
    """A number, or one for each row, that is `good` where it is known."""
    do = f"Pass {name}=0.9, say."
    array = value if hasattr(value, "dtype") else np.asarray(value)
    real = jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)
    if not real:
        shown = describe(value) if hasattr(value, "shape") else repr(value)
        raise wrong_decoding(f"{name}={shown}", need, do, TypeError)
    fits = len(array.shape) <= len(batch) and all(
        a in (1, b) for a, b in zip(reversed(array.shape), reversed(batch), strict=False)
    )
    if not fits:
        got = f"{name} {describe(array)} for rows {batch}"
        raise wrong_decoding(got, f"a number, or a shape that broadcasts with {batch}", do)
    if isinstance(array, Tracer):
        return
    known = np.asarray(array).astype(np.float64)
    if not np.all(good(known)):
        raise wrong_decoding(f"{name}={known[~good(known)].flat[0]:g}", need, do)


def check_tokens(name: str, tokens: Any, need: str) -> None:
    """Integer tokens as one array."""
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        do = "Cast token ids with astype(jnp.int32)."
        raise wrong_decoding(f"{name} {describe(tokens)}", need, do, TypeError)


def check_prompt_lengths(lengths: Any, prompt: Any) -> None:
    """How many tokens of each row of a prompt count."""
    batch, most = prompt.shape[1:], prompt.shape[0]
    if lengths.shape != batch or not jnp.issubdtype(lengths.dtype, jnp.integer):
        kind = ValueError if jnp.issubdtype(lengths.dtype, jnp.integer) else TypeError
        got = f"lengths {describe(lengths)} for a prompt {describe(prompt)}"
        do = "Pass one length for each row."
        raise wrong_decoding(got, f"integers of shape {batch}", do, kind)
    do = "A row without a prompt begins with a start token; cut the others with clip."
    need = f"1 to {most}, the prompt's own"
    check_within("decoding", "lengths", lengths, 1, most, need, do)


def check_state_rows(state: Any, batch: tuple[int, ...]) -> None:
    """A state whose leaves begin with the batch axes, by which rows are known."""
    for leaf in jax.tree.leaves(state):
        if jnp.shape(leaf)[: len(batch)] != batch:
            got = f"a state with a leaf {describe(leaf)} for tokens {list(batch)}"
            need = f"the batch axes {batch} first in every leaf of the state"
            raise wrong_decoding(got, need, f"Make it with net.initial_state(params, {batch}).")


def kind(a: Any) -> tuple:
    return jnp.shape(a), jnp.result_type(a)


def check_written(before: Any, made: Any, batch: tuple[int, ...]) -> None:
    """What a step returned: the state as it was, and logits for each row."""
    need = "(state, logits), as jax.tree_util.Partial(advance, net, params) returns them"
    if not isinstance(made, tuple) or len(made) != 2:
        got = f"a {type(made).__name__}" + (f" of {len(made)}" if isinstance(made, tuple) else "")
        raise wrong_decoding(f"{got} from the step", need, "Return both.", TypeError)
    after, logits = made
    if not hasattr(logits, "dtype") or not jnp.issubdtype(logits.dtype, jnp.floating):
        got = f"logits {describe(logits)} from the step"
        do = "Let the step return (state, logits), in this order."
        raise wrong_decoding(got, f"floating logits {[*batch, 'V']}", do, TypeError)
    if logits.ndim != len(batch) + 1 or logits.shape[:-1] != batch or not logits.shape[-1]:
        got = f"logits {describe(logits)} from the step for tokens {list(batch)}"
        do = "Let the net end in Dense(vocabulary)."
        raise wrong_decoding(got, f"a logit for each token of the vocabulary {[*batch, 'V']}", do)
    old, new = (jax.tree.map(kind, tree) for tree in (before, after))
    if jax.tree.structure(before) != jax.tree.structure(after) or old != new:
        got = f"a state {jax.tree.map(describe, after)} from the step"
        do = "Let the step keep its state's structure, shapes and dtypes."
        raise wrong_decoding(got, str(jax.tree.map(describe, before)), do)


def check_top_k(top_k: int, logits: Any) -> None:
    if top_k > logits.shape[-1]:
        got = f"top_k={top_k} for logits {describe(logits)}"
        need = f"at most {logits.shape[-1]}, the size of the vocabulary"
        raise wrong_decoding(got, need, "Pass a smaller one, or None.")


def check_token(name: str, token: Any, do: str) -> None:
    """One integer token."""
    whole = hasattr(token, "dtype") or (isinstance(token, int) and not isinstance(token, bool))
    if not whole or jnp.ndim(token) or not jnp.issubdtype(jnp.result_type(token), jnp.integer):
        shown = describe(token) if hasattr(token, "shape") and jnp.ndim(token) else repr(token)
        raise wrong_decoding(f"{name}={shown}", "one integer token", do, TypeError)


def check_in_vocabulary(name: str, token: int, size: int, do: str) -> None:
    if not 0 <= token < size:
        got, need = f"{name}={token}", f"a token of the vocabulary, 0 to {size - 1}"
        raise wrong_decoding(got, need, do)


def not_a_step(step: Any) -> Exception:
    return wrong_decoding(
        f"a {type(step).__name__} as the step",
        "a function step(state, token) -> (state, logits)",
        "Pass jax.tree_util.Partial(advance, net, params).",
        TypeError,
    )
