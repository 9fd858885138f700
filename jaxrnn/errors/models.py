"""What models, tasks and conversions refuse."""

from typing import Any

import jax

from jaxrnn.errors.message import describe, error


def no_last(net: Any, body: Any) -> Exception:
    return error(
        ValueError,
        type(net).__name__,
        f"pool='last' of {body!r}, no one output of which has read the whole sequence",
        "a causal body, or one whose top is a recurrent cell or a Bidirectional of such",
        "Move what lies above the Bidirectional into the head, or pass pool='mean'.",
    )


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


def unknown_biases(got: Any) -> Exception:
    do = "Leave it out to have one bias, their sum."
    return error(ValueError, "from_torch", f"biases={got!r}", "'sum' or 'both'", do)


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
