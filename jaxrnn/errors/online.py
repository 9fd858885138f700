"""What learning without looking back checks: nets, learners and keys."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.errors.message import describe, error


def online_memory(who: str, cell: Any) -> Exception:
    need, do = "a net whose params are shared by all rows", "Train it with training.make_step."
    return error(ValueError, who, f"{cell!r}, which looks at a bound memory", need, do)


def check_differentiable(who: str, state: Any) -> None:
    """A state whose every number has a derivative."""
    for leaf in jax.tree.leaves(state):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            got, do = f"a state with a leaf {describe(leaf)}", "Keep such a count as floats."
            raise error(TypeError, who, got, "a state of floating arrays", do)


def unknown_input(who: str, cell: Any, many: int) -> Exception:
    got = f"{cell!r}, whose params fit {many or 'no'} sizes of one array of inputs"
    do = f"Write {who}(...).init(params, batch_shape, key, x=features(4)), say."
    return error(ValueError, who, got, "what one step's input is like", do)


def wrong_learner(who: str, learner: Any, need: type) -> Exception:
    do = f"Make it with {who}(...).init(params, batch_shape, key)."
    return error(TypeError, who, f"a learner of type {type(learner).__name__}", need.__name__, do)


def check_learner(who: str, learner: Any, need: Any) -> None:
    """A learner against the one that `init` makes for such params and inputs."""
    do = "Make it with init(params, batch_shape, key) for such inputs; x=x says what they are."
    got, want = (jax.tree.structure(tree) for tree in (learner, need))
    if got != want:
        raise error(ValueError, who, f"a learner of another net, {got}", f"{want}", do)
    paths = jax.tree_util.tree_flatten_with_path(learner)[0]
    for (path, leaf), other in zip(paths, jax.tree.leaves(need), strict=True):
        if describe(leaf) != describe(other):
            name = jax.tree_util.keystr(path)
            raise error(ValueError, who, f"learner{name} {describe(leaf)}", describe(other), do)


def needs_directions(who: str) -> Exception:
    got, need = "no key", "a PRNG key, for its random directions"
    return error(
        TypeError, who, got, need, f"Write {who}(...).init(params, (), jax.random.key(0))."
    )


def beyond_window(who: str, steps: int, age: int) -> Exception:
    got = f"step {age} since a row began, with steps={steps}"
    do = f"Make it with steps={age} or more, reset the rows, or use TBPTT({steps}) or RTRL."
    return error(ValueError, who, got, "at most as many steps as are kept", do)
