"""What scores refuse: nothing is broadcast, and what is counted is whole."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxrnn.errors.arguments import check_within
from jaxrnn.errors.inputs import check_array
from jaxrnn.errors.losses import check_targets
from jaxrnn.errors.message import describe, error, same_shape


def check_predictions(who: str, logits: Any, targets: Any, mask: Any) -> None:
    """Logits `[..., V]` or tokens `[...]`, integer targets `[...]` and a mask `[...]`."""
    check_array(who, "logits", logits)
    integers = jnp.issubdtype(logits.dtype, jnp.integer)
    if not integers and not jnp.issubdtype(logits.dtype, jnp.floating):
        got, do = f"predictions {describe(logits)}", "Cast flags with astype(int): 0 and 1."
        raise error(TypeError, who, got, "floating logits, or integer tokens", do)
    if not integers and not logits.ndim:
        got, do = f"logits {describe(logits)}", "The vocabulary is the last axis."
        raise error(ValueError, who, got, "logits [..., V]", do)
    check_targets(who, logits.shape if integers else logits.shape[:-1], targets, tokens=True)
    if mask is not None:
        check_flags_of(who, targets, mask)


def check_flags_of(who: str, targets: Any, mask: Any) -> None:
    """A boolean for each target."""
    check_array(who, "mask", mask)
    if mask.dtype != bool:
        got, do = f"a mask {describe(mask)}", "Write mask > 0."
        raise error(TypeError, who, got, "booleans, true where the step is valid", do)
    if not same_shape(mask.shape, targets.shape):
        got = f"a mask {describe(mask)} for targets {describe(targets)}"
        raise error(ValueError, who, got, "a flag for each target", "Shapes are never broadcast.")


def check_classes(classes: int, logits: Any, targets: Any) -> None:
    """The number of classes beside logits, which say it themselves."""
    if logits.ndim > targets.ndim and logits.shape[-1] != classes:
        got, do = f"classes={classes} with logits {describe(logits)}", "Leave classes out."
        raise error(ValueError, "confusion", got, f"classes={logits.shape[-1]}", do)


def no_classes() -> Exception:
    got, do = "predicted tokens without classes", "Pass classes=10, say."
    return error(ValueError, "confusion", got, "the number of classes", do)


def check_sequences(tokens: Any, targets: Any) -> None:
    """Integer tokens `[T, ...]` and targets `[U, ...]` of the same rows."""
    for name, array in (("tokens", tokens), ("targets", targets)):
        check_array("edit_distance", name, array)
        if not jnp.issubdtype(array.dtype, jnp.integer):
            do = "Take the likeliest of logits first: logits.argmax(-1)."
            got = f"{name} {describe(array)}"
            raise error(TypeError, "edit_distance", got, "integer tokens, time first", do)
    if not tokens.ndim or not targets.ndim or not same_shape(tokens.shape[1:], targets.shape[1:]):
        got = f"tokens {describe(tokens)} and targets {describe(targets)}"
        do = "Rows are never broadcast: use jax.vmap, or jnp.broadcast_to."
        raise error(ValueError, "edit_distance", got, "[T, ...] and [U, ...], the same rows", do)


def check_row_lengths(name: str, lengths: Any, tokens: Any) -> None:
    """One length for each row of tokens `[T, ...]`, whose values are looked at where known."""
    who, batch, most = "edit_distance", tokens.shape[1:], tokens.shape[0]
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        got, do = f"{name} {describe(lengths)}", "Cast them with astype(int)."
        raise error(TypeError, who, got, "integers", do)
    if not same_shape(lengths.shape, batch):
        got = f"{name} {describe(lengths)} for tokens {describe(tokens)}"
        raise error(ValueError, who, got, f"the shape {batch}", "Pass one length for each row.")
    need = f"lengths from 0 to {most}"
    check_within(who, name, lengths, 0, most, need, "Cut them with clip.")


def check_pairs(who: str, hypotheses: Any, references: Any, several: bool = False) -> None:
    """Two lists of sentences of one length, at least one long."""
    do = "Pass two lists of sentences."
    for name, column in (("hypotheses", hypotheses), ("references", references)):
        if isinstance(column, (str, bytes)) or not hasattr(column, "__len__"):
            got = "a string" if isinstance(column, (str, bytes)) else f"a {type(column).__name__}"
            raise error(TypeError, who, f"{got} as {name}", "a list of sentences", do)
    if len(hypotheses) != len(references) or not len(references):
        got = f"{len(hypotheses)} hypotheses for {len(references)} references"
        raise error(ValueError, who, got, "as many of each, at least one", do)
    for i, (one, other) in enumerate(zip(hypotheses, references, strict=True)):
        alone = not several or isinstance(other, str) or not isinstance(other, Sequence)
        others = [other] if alone else other
        if not all(isinstance(sentence, str) for sentence in (one, *others)):
            wrong = next(s for s in (one, *others) if not isinstance(s, str))
            got, do = f"pair {i} with a {type(wrong).__name__}", "Join words with ' '.join(words)."
            raise error(TypeError, who, got, "sentences that are strings", do)
        if not others:
            got, do = f"pair {i} without a reference", "Leave that pair out."
            raise error(ValueError, who, got, "at least one reference for each", do)
