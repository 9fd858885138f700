"""What models, tasks and conversions refuse."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.errors.message import describe, error


def no_last(net: Any, body: Any) -> Exception:
    return error(
        ValueError,
        type(net).__name__,
        f"pool='last' of {body!r}, no one output of which has read the whole sequence",
        "a causal body, or one whose top is a recurrent cell or a Bidirectional of such",
        "Move what lies above the Bidirectional into the head, or pass pool='mean'.",
    )


def check_pair(net: Any, params: Any) -> None:
    """The params of a body and a head."""
    if not isinstance(params, tuple | list) or len(params) != 2:
        parts = f" of {len(params)} parts" if isinstance(params, tuple | list | dict) else ""
        got, need = (
            f"params{parts} as a {type(params).__name__}",
            "the body's params and the head's",
        )
        raise error(ValueError, net, got, f"a pair, {need}", "Make them with net.init(key, x).")


def no_state(net: Any) -> Exception:
    return error(
        ValueError,
        net,
        "an encoder without a state",
        "one whose last state the bridge can hand on",
        "Put a recurrent cell into the encoder, or pass bridge='none'.",
    )


def wrong_copy(net: Any, given: Any, need: Any) -> Exception:
    return error(
        ValueError,
        net,
        f"an encoder's state {jax.tree.map(describe, given)}",
        f"the decoder's arrays, {jax.tree.map(describe, need)}",
        "Give both the same recurrent cells, or pass bridge='dense'.",
    )


def wrong_net(net: Any, params: Any) -> Exception:
    got = (
        f"params with {', '.join(map(repr, params))}"
        if isinstance(params, dict)
        else f"params as a {type(params).__name__}"
    )
    return error(
        ValueError,
        net,
        got,
        "a dict of 'encoder', 'decoder' and 'bridge'",
        "Make them with net.init(key, source, target).",
    )


def check_net(who: str, net: Any, kind: type) -> None:
    if not isinstance(net, kind):
        got = f"a {type(net).__name__} as the net" + " (the class itself)" * isinstance(net, type)
        do = "Write EncoderDecoder(encoder, decoder)."
        raise error(TypeError, who, got, f"an instance of {kind.__name__}", do)


def check_bridge(net: Any, bridge: Any, need: tuple) -> None:
    """The params of a bridge: a weight and a bias for each array of the decoder's state."""
    specs = lambda tree: jax.tree.map(lambda a: tuple(jnp.shape(a)), tree)  # noqa: E731
    if jax.tree.structure(bridge) != jax.tree.structure(need) or specs(bridge) != specs(need):
        got = f"params['bridge'] {jax.tree.map(describe, bridge)}"
        do = "Make them with net.init(key, source, target)."
        raise error(ValueError, net, got, str(jax.tree.map(describe, need)), do)


def check_pairs_batch(net: Any, batch: Any, kind: type) -> None:
    if not isinstance(batch, kind):
        got, do = (
            f"a {type(batch).__name__} as the batch",
            f"Write {kind.__name__}.of(source, target).",
        )
        raise error(TypeError, net, got, f"a {kind.__name__}", do)


def check_loss_function(net: Any, loss: Any) -> None:
    if not callable(loss) or isinstance(loss, type):
        need, do = "a function loss(ys, targets, mask)", "Pass training.cross_entropy, say."
        raise error(TypeError, net, f"a {type(loss).__name__} as the loss", need, do)


def check_target(target: Any) -> None:
    """Whole target sequences, a start and an end token at least."""
    if not hasattr(target, "shape") or not hasattr(target, "dtype"):
        got, do = f"target as a {type(target).__name__}", "Pass jnp.asarray(target)."
        raise error(TypeError, "Seq2SeqBatch", got, "one array [T + 1, ...]", do)
    if target.ndim < 1 or target.shape[0] < 2:
        got, do = f"target {describe(target)}", "Begin with a start token, and end with an end."
        raise error(ValueError, "Seq2SeqBatch", got, "[T + 1, ...] with T of at least one", do)


def wrong_task(task: str, got: str, need: str, do: str) -> Exception:
    """Settings that no sequence of a task can have."""
    return error(ValueError, task, got, need, do)


def not_convertible(module: Any, got: str, need: str, do: str) -> Exception:
    """A module of another library, or a cell of ours, that has no counterpart."""
    return error(ValueError, module, got, need, do)


def no_second_bias(cell: Any) -> Exception:
    got, need = f"{cell!r} as a cell", "an LSTM, a GRU or an Elman cell"
    return error(TypeError, "TwoBiases", got, need, "Write TwoBiases(LSTM(8)).")


def not_concrete(cell: Any, path: str, leaf: Any) -> Exception:
    got = f"params{path} as a {type(leaf).__name__}"
    do = "Convert outside jit, the params that cell.init or training returned."
    return error(TypeError, cell, got, "arrays whose values are known", do)


def unknown_biases(who: str, got: Any) -> Exception:
    do = "Leave it out to have one bias, their sum."
    return error(ValueError, who, f"biases={got!r}", "'sum' or 'both'", do)


def missing_leaf(module: Any, path: tuple[str, ...], variables: Any) -> Exception:
    """Variables that are not those of a module."""
    got = (
        f"variables with {', '.join(map(repr, variables)) or 'nothing'}"
        if hasattr(variables, "keys")
        else f"variables as a {type(variables).__name__}"
    )
    need = f"a leaf {'/'.join(path)}"
    do = "Pass what this module's own init returned, with or without the key 'params'."
    return error(ValueError, module, got, need, do)


def missing_package(name: str, why: str, extra: str) -> Exception:
    return ModuleNotFoundError(
        f'the package {name} is not installed ({why}). Run: pip install -e ".[{extra}]"', name=name
    )


def no_backend(name: str) -> Exception:
    return ModuleNotFoundError(
        f"the package {name} is not installed (it is the backend that Keras is set to). Set the "
        "environment variable KERAS_BACKEND=jax, say, before Keras is imported; or run: pip "
        'install -e ".[interop]"',
        name=name,
    )
