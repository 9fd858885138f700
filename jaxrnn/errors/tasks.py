"""What tasks refuse that is no setting of theirs: no task, another step, words that are none."""

import inspect
import operator
from typing import Any

import jax.numpy as jnp
from jax.core import Tracer

from jaxrnn.errors.arguments import check_within
from jaxrnn.errors.inputs import check_array
from jaxrnn.errors.message import describe, error


def check_task(task: Any, key: Any, settings: dict) -> None:
    """A task, and settings that it has."""
    if not callable(task):
        do = "Pass the function itself, batches(tasks.parity, key, length=10)."
        raise error(TypeError, "batches", f"task, a {type(task).__name__}", "a function", do)
    signature = inspect.signature(task)
    try:
        signature.bind(key, **settings)
    except TypeError as why:
        name, fields = getattr(task, "__name__", repr(task)), ", ".join(signature.parameters)
        got, need = f"settings that do not fit: {why}", f"those of {name}({fields})"
        raise error(TypeError, "batches", got, need, "Use these names.") from None


def check_step(name: str, step: Any) -> None:
    """The number of a training step."""
    try:
        wrong = not isinstance(step, Tracer) and operator.index(step) < 0
    except TypeError:
        wrong = True
    if wrong:
        got, do = f"step={step!r}", "Count the steps from 0."
        raise error(TypeError, name, got, "an integer from 0 on", do)


def check_words(name: str, xs: Any, kinds: int) -> None:
    """Brackets `[T, ...]`, whose values are looked at where they are known."""
    check_array(name, "xs", xs)
    if not xs.ndim or not jnp.issubdtype(xs.dtype, jnp.integer):
        do = "Pass the xs of a batch of dyck."
        raise error(TypeError, name, f"xs {describe(xs)}", "integer tokens [T, ...]", do)
    need = f"tokens from 0 to {2 * kinds}, for kinds={kinds}"
    check_within(name, "tokens", xs, 0, 2 * kinds, need, "Pass the kinds of its words.")
