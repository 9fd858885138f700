"""The network that is served."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, training
from jaxrnn.errors import error
from support import corpus, experiments


class Ask(NamedTuple):
    """What each slot wants of a step, arrays `[slots]`.

    A slot that is not active keeps its state. One with `resets` begins from the initial state. The
    character drawn is the `counts`-th of the text that belongs to `seeds`.
    """

    tokens: np.ndarray
    active: np.ndarray
    resets: np.ndarray
    seeds: np.ndarray
    counts: np.ndarray
    temperatures: np.ndarray

    @classmethod
    def none(cls, slots: int) -> Ask:
        kinds = np.int32, bool, bool, np.uint32, np.int32, np.float32
        return cls(*(np.zeros(slots, kind) for kind in kinds))


class Model(NamedTuple):
    """A network over bytes, its params, and which bytes they are."""

    name: str
    params: Any
    vocabulary: data.Bytes
    first: Callable[[Any, int], Any]
    """`(params, slots) -> state`, the initial one."""
    step: Callable[[Any, Any, Ask], tuple[Any, Any, Any]]
    """`(params, state, ask) -> (state, logits, gates)`, a NamedTuple of gates `[slots, units]`, or
    None."""


def live(net: rnn.Stack, params: Any, vocabulary: data.Bytes) -> Model:
    """A network whose gates are seen."""

    def first(params: Any, slots: int) -> Any:
        return net.initial_state(params, (slots,))

    def step(params: Any, state: Any, ask: Ask) -> tuple[Any, Any, Any]:
        # A sequence of one step, all of which is recorded.
        xs, mask, resets = (a[None] for a in (ask.tokens, ask.active, ask.resets))
        seen = rnn.diagnostics.record(net, params, xs, state=state, mask=mask, resets=resets)
        new = jax.tree.unflatten(jax.tree.structure(state), [s[0] for s in states(seen)])
        return new, seen[-1].ys[0], jax.tree.map(lambda g: g[0], gates(seen))

    return Model(" → ".join(map(repr, net.cells)), params, vocabulary, first, step)


def load(path: pathlib.Path) -> Model:
    """A network from a file that `rnn.save` wrote, with its bytes in the metadata:
    `rnn.save(path, net, params, rnn.TOKEN, metadata={"vocabulary": list(vocabulary.known)})`.

    Raises:
      OSError, ValueError: for a file that cannot be read or holds no such network.
    """
    saved = rnn.load(path)
    known = vocabulary(str(path), saved.metadata)
    net, need = saved.layer, "a Stack from tokens to logits, of layers whose states a record shows"
    do = "Save one like Stack((Embed(n, 32), LSTM(128), Dense(n))), n = vocabulary.size."
    if not (isinstance(net, rnn.Stack) and net.causal and not jax.tree.leaves(saved.x)[0].shape):
        raise error(ValueError, str(path), repr(net), need, do)
    model, state = live(net, saved.params, known), jax.eval_shape(net.initial_state, saved.params)
    seen = jax.eval_shape(
        lambda params: rnn.diagnostics.record(net, params, np.zeros(1, np.int32)), saved.params
    )
    shown = [leaf.shape[1:] for leaf in states(seen)] == [a.shape for a in jax.tree.leaves(state)]
    if not (shown and isinstance(seen[-1], rnn.diagnostics.Record)):
        raise error(ValueError, str(path), repr(net), need, do)
    check_logits(str(path), seen[-1].ys.shape[1:], known)
    return model


def load_exported(path: pathlib.Path) -> Model:
    """A network from a file that `rnn.export` wrote, with its bytes in the metadata. It needs no
    code of the network, and its gates are not seen.

    Raises:
      OSError, ValueError: as `load`.
    """
    program = rnn.load_exported(path)
    known = vocabulary(str(path), program.metadata)
    spec = jax.tree.leaves(program.x)
    if len(spec) > 1 or spec[0].shape or "step" not in program.programs:
        need = "a causal network that takes tokens"
        raise error(ValueError, str(path), repr(program), need, "Export a language model.")

    def first(params: Any, slots: int) -> Any:
        return program.initial_state((slots,), params=params)

    def step(params: Any, state: Any, ask: Ask) -> tuple[Any, Any, Any]:
        before = chosen(ask.resets, first(params, len(ask.active)), state)
        after, logits = program.step(before, ask.tokens, params=params)
        return chosen(ask.active, after, state), logits, None

    _, logits = jax.eval_shape(lambda: program.step(program.initial_state((1,)), np.zeros(1, int)))
    check_logits(str(path), logits.shape[1:], known)
    return Model(program.layer, program.params, known, first, step)


def chosen(flags: Any, yes: Any, no: Any) -> Any:
    """A state with the rows of one where the flag is true, and of another where it is not."""

    def one(yes: Any, no: Any) -> Any:
        return jnp.where(flags.reshape(-1, *[1] * (yes.ndim - 1)), yes, no)

    return jax.tree.map(one, yes, no)


def vocabulary(path: str, metadata: Any) -> data.Bytes:
    """The bytes in a file's metadata."""
    known = metadata.get("vocabulary")
    numbers = isinstance(known, list) and all(type(k) is int and 0 <= k < 256 for k in known)
    if not (known and numbers and known == sorted(set(known))):
        need = "the bytes that the network knows, numbers from 0 to 255 in their order"
        do = 'Save it with metadata={"vocabulary": list(vocabulary.known)}.'
        raise error(ValueError, path, "no vocabulary of bytes", need, do)
    return data.Bytes(bytes(known))


def check_logits(path: str, got: tuple[int, ...], known: data.Bytes) -> None:
    if got != (known.size,):
        need = f"{known.size} logits, one more than the bytes"
        raise error(ValueError, path, f"outputs of shape {got}", need, "Save its own vocabulary.")


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
    known = data.Bytes.of(text)
    net = rnn.Stack(
        (
            rnn.Embed(known.size, 32),
            getattr(rnn, args.cell.upper())(args.hidden),
            rnn.Dense(known.size),
        )
    )
    print(f"no network in {args.out} yet: {net} learns to write first, about a minute")
    rate = training.warmup_cosine(args.lr, args.steps)
    tx = training.optimizer(optax.adamw(rate, weight_decay=1e-3), clip=1.0)
    draw, noise = (jax.random.fold_in(jax.random.key(args.seed), i) for i in range(2))
    start = net.init(draw, rnn.TOKEN)
    segments = data.Segments(known.encode(text), args.batch, 32)
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
    said = {"vocabulary": list(known.known), "bits": bits}
    rnn.save(path, net, run.params, rnn.TOKEN, metadata=said)
    return path
