"""The network that is served."""

from __future__ import annotations

import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, training
from jaxrnn.errors import error
from support import corpus, experiments


class Model(NamedTuple):
    """A network over bytes, its params, and which bytes they are."""

    net: rnn.Stack
    params: Any
    vocabulary: data.Bytes


def load(path: pathlib.Path) -> Model:
    """A network from a file that `rnn.save` wrote, with its bytes in the metadata:
    `rnn.save(path, net, params, rnn.TOKEN, metadata={"vocabulary": list(vocabulary.known)})`.

    Raises:
      OSError, ValueError: for a file that cannot be read or holds no such network.
    """
    saved = rnn.load(path)
    known = saved.metadata.get("vocabulary")
    need = "the bytes it knows, as a list of numbers from 0 to 255, each once and in their order"
    do = 'Save it with metadata={"vocabulary": list(vocabulary.known)}.'
    match known:
        case [int(), *_] if all(type(k) is int and 0 <= k < 256 for k in known):
            if known != sorted(set(known)):
                raise error(ValueError, str(path), "a vocabulary out of order", need, do)
        case _:
            raise error(ValueError, str(path), "no vocabulary of bytes", need, do)
    vocabulary = data.Bytes(bytes(known))
    check(str(path), saved, vocabulary)
    return Model(saved.layer, saved.params, vocabulary)


def check(path: str, saved: Any, vocabulary: data.Bytes) -> None:
    """A causal stack from tokens to their logits, whose states a record shows."""
    net, need = saved.layer, "a Stack from tokens to logits"
    do = "Save one like Stack((Embed(n, 32), LSTM(128), Dense(n))), n = vocabulary.size."
    if not (isinstance(net, rnn.Stack) and net.causal and not jax.tree.leaves(saved.x)[0].shape):
        raise error(ValueError, path, f"{net!r}", need, do)
    state, logits, seen = jax.eval_shape(lambda params: looked(net, params), saved.params)
    if not hasattr(logits, "shape") or logits.shape != (vocabulary.size,):
        raise error(ValueError, path, "other outputs", f"{vocabulary.size} logits", do)
    same = [a.shape == b.shape for a, b in zip(jax.tree.leaves(state), seen, strict=False)]
    if len(seen) != len(jax.tree.leaves(state)) or not all(same):
        raise error(ValueError, path, f"{net!r}", "cells, whose states a record shows", do)


def looked(net: rnn.Stack, params: Any) -> tuple[Any, Any, list[Any]]:
    """The state, the logits of one token, and the states that a record shows."""
    state = net.initial_state(params)
    seen = rnn.diagnostics.record(net, params, np.zeros(1, np.int32), state=state)
    logits = getattr(seen[-1], "ys", None)
    return state, logits if logits is None else logits[0], [s[0] for s in states(seen)]


def states(seen: Any) -> list[Any]:
    """The states of all cells in a record, leaf by leaf, in the order of the network's state."""
    if isinstance(seen, rnn.diagnostics.Record):
        return jax.tree.leaves(seen.states)
    return [leaf for inner in seen for leaf in states(inner)]


def gates(seen: Any) -> Any:
    """The gates of the last cell in a record that has some, or None."""
    if isinstance(seen, rnn.diagnostics.Record):
        return seen.gates
    found = [g for inner in seen if (g := gates(inner)) is not None]
    return found[-1] if found else None


def trained(args: Any) -> pathlib.Path:
    """The file of a small network in `args.out`, trained first where it is not there: about a
    minute, on the source of Python's standard library."""
    path = args.out / "net.safetensors"
    if path.exists():
        return path
    text = corpus.python_source(1_000_000)
    vocabulary = data.Bytes.of(text)
    net = rnn.Stack(
        (
            rnn.Embed(vocabulary.size, 32),
            getattr(rnn, args.cell.upper())(args.hidden),
            rnn.Dense(vocabulary.size),
        )
    )
    print(f"no network in {args.out} yet: {net} learns to write first, about a minute")
    rate = training.warmup_cosine(args.lr, args.steps)
    tx = training.optimizer(optax.adamw(rate, weight_decay=1e-3), clip=1.0)
    draw, noise = (jax.random.fold_in(jax.random.key(args.seed), i) for i in range(2))
    start = net.init(draw, rnn.TOKEN)
    segments = data.Segments(vocabulary.encode(text), args.batch, 32)
    run = training.TrainState.create(net, start, tx, noise, (args.batch,))
    step = training.truncated_bptt_step(net, training.cross_entropy, tx)
    run, history = experiments.trained(
        training.fit(
            step,
            run,
            segments,
            args.steps,
            directory=args.out / "checkpoints",
            save_every=args.save_every,
            settings={"cell": args.cell, "hidden": args.hidden, "lr": args.lr},
        )
    )
    bits = float(np.mean(history.metrics["loss"][-200:]) / np.log(2))
    print(f"{bits:.2f} bits per character at the end of training")
    said = {"vocabulary": list(vocabulary.known), "bits": bits}
    rnn.save(path, net, run.params, rnn.TOKEN, metadata=said)
    return path
