"""What models, decoding, tasks and conversions refuse."""

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


def wrong_decoding(got: str, need: str) -> Exception:
    return error(
        ValueError, "decoding", got, need, "See the docstrings of greedy, sample and beam."
    )


def wrong_task(task: str, got: str, need: str, do: str) -> Exception:
    """Settings that no sequence of a task can have."""
    return error(ValueError, task, got, need, do)


def not_convertible(module: Any, got: str, need: str, do: str) -> Exception:
    """A module of another library, or a cell of ours, that has no counterpart."""
    return error(ValueError, module, got, need, do)


def missing_package(name: str, why: str, extra: str) -> Exception:
    return ModuleNotFoundError(
        f'the package {name} is not installed ({why}). Run: pip install -e ".[{extra}]"', name=name
    )
