"""What is refused as an optimizer, a rate or a schedule."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.errors.losses import is_number, known
from jaxrnn.errors.message import error
from jaxrnn.errors.training import name_of


def check_rule(rule: Any, kind: type) -> None:
    """A learning rate, or a schedule that makes one of a step."""
    if is_number(rule):
        return check_positive_number("optimizer", "a rate of", rule, zero=True)
    if not callable(rule):
        raise wrong_rule(rule, "Write optimizer(1e-3).")
    called = f"Call it: optimizer({getattr(rule, '__name__', 'rule')}(1e-3))."

    def rate(step: Any) -> Any:
        made = rule(step)
        if isinstance(made, kind):
            raise wrong_rule(rule, called)
        return made

    step = jax.ShapeDtypeStruct((), jnp.int32)
    try:
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            made = jax.eval_shape(rate, step)
    except Exception as why:
        if isinstance(why, TypeError) and str(why).startswith("optimizer: got"):
            raise
        do = f"{called} A schedule is step -> rate and is traced: use jnp.where for a branch."
        raise wrong_rule(rule, do) from why
    if not is_number(made):
        raise wrong_rule(rule, "A schedule makes one number of a step.")
    return None


def wrong_rule(got: Any, do: str) -> Exception:
    need = "a learning rate, a schedule or an optax transformation"
    return error(TypeError, "optimizer", name_of(got), need, do)


def no_transformation(who: Any, got: Any) -> Exception:
    do = "Write tx = training.optimizer(1e-3)."
    if callable(got):
        do = f"Call it: optimizer({getattr(got, '__name__', 'rule')}(1e-3))."
    return error(TypeError, who, f"{name_of(got)} as tx", "an optax transformation", do)


def check_clip(clip: Any, kind: type) -> None:
    """The largest norm of a gradient, a transformation that clips, or a word for none."""
    if clip is None or isinstance(clip, kind) or (isinstance(clip, str) and clip == "auto"):
        return
    if not is_number(clip):
        got = f"clip={name_of(clip)}"
        need = "a positive number, an optax transformation that clips, None or 'auto'"
        called = f"Call it: clip={getattr(clip, '__name__', 'clip')}(1.0)."
        do = called if callable(clip) else "Pass clip=1.0, say."
        raise error(TypeError, "optimizer", got, need, do)
    if known(clip) and not float(clip) > 0:
        need, do = "a positive number", "Pass clip=1.0, say; None does not clip."
        raise error(ValueError, "optimizer", f"clip={clip}", need, do)


def check_positive_number(who: str, what: str, x: Any, zero: bool = False) -> None:
    """A finite number above zero, or from zero up, where it is known."""
    if not is_number(x):
        raise error(TypeError, who, f"{what} {name_of(x)}", "a number", "Pass 1e-3, say.")
    if known(x) and not (math.isfinite(float(x)) and (float(x) > 0 or (zero and float(x) == 0))):
        need = f"a finite number {'from 0 up' if zero else 'above 0'}"
        raise error(ValueError, who, f"{what} {x}", need, "Pass 1e-3, say.")


def check_warmup(rate: Any, steps: Any, warmup: Any, floor: Any) -> None:
    """The settings of a schedule."""
    who = "warmup_cosine"
    check_positive_number(who, "rate =", rate, zero=True)
    check_positive_number(who, "floor =", floor, zero=True)
    for name, count, least in (("steps", steps, 1), ("warmup", warmup, 0)):
        if not isinstance(count, (int, np.integer)) or isinstance(count, bool):
            do = f"Pass {name}=1000, say."
            raise error(TypeError, who, f"{name}={name_of(count)}", "an integer", do)
        if count < least:
            do = "Pass the number of steps of the whole run."
            raise error(ValueError, who, f"{name}={count}", f"at least {least}", do)
