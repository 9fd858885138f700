"""Five minutes with jaxrnn: a net, its three verbs, vmap, gradients, and training on a toy task.

    python examples/quickstart.py

The task is to add: of two rows of random numbers, a second channel marks one number in each half;
the answer is their sum (Hochreiter & Schmidhuber 1997).
Knowing nothing costs 1/6, the variance of the sum.
"""

from __future__ import annotations

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import decoding, tasks, training


def tour() -> None:
    """A network is static configuration, its parameters a plain pytree, and three verbs run it."""
    net = rnn.Stack(
        (
            rnn.Embed(256, 16),
            rnn.LSTM(32),
            rnn.Dropout(0.1),
            rnn.Residual(rnn.GRU(32)),
            rnn.Dense(256),
        )
    )
    params = net.init(jax.random.key(0), rnn.TOKEN)
    print(net)
    print("parameters:", jax.tree.map(lambda p: p.shape, params[1]), "in the LSTM")

    # Time is axis 0, then batch: [T, B].
    tokens = jax.random.randint(jax.random.key(1), (20, 4), 0, 256)
    state, logits = rnn.unroll(net, params, tokens)
    print("unroll: tokens", tokens.shape, "-> logits", logits.shape)

    state, after = rnn.advance(net, params, state, tokens[0])
    print("advance: one more step, token", tokens[0].shape, "-> logits", after.shape)

    # Ragged rows are a mask, packed documents are resets.
    mask = rnn.lengths_to_mask(jnp.array([20, 13, 0, 7]), 20)
    resets = jnp.zeros((20, 4), bool).at[10, 0].set(True)
    _, masked = rnn.unroll(net, params, tokens, mask=mask, resets=resets)
    print(
        "mask: the first row, reset at step 10, is as before up to there:",
        bool(jnp.allclose(masked[:10, 0], logits[:10, 0], atol=1e-5)),
    )

    # Batch-first data by vmap, an ensemble by vmap over keys.
    _, batch_first = jax.vmap(rnn.unroll, in_axes=(None, None, 0))(net, params, tokens.T)
    members = jax.vmap(lambda key: net.init(key, rnn.TOKEN))(jax.random.split(jax.random.key(2), 3))
    _, ensemble = jax.vmap(rnn.unroll, in_axes=(None, 0, None))(net, members, tokens)
    print("vmap: batch first", batch_first.shape, "- an ensemble of three", ensemble.shape)

    # A strategy changes time and memory, never the answer.
    # Passing a key is training mode (dropout).
    def loss(params: Any, strategy: rnn.Strategy) -> jax.Array:
        _, logits = rnn.unroll(net, params, tokens[:-1], key=jax.random.key(3), strategy=strategy)
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[1:]).mean()

    one, other = (
        jax.jit(jax.grad(loss), static_argnums=1)(params, strategy)
        for strategy in (rnn.Scan(), rnn.Chunked(5))
    )
    worst = np.max(jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b).max(), one, other)))
    print(f"gradients: norm {optax.tree.norm(one):.3f}, Scan and Chunked differ by {worst:.0e}")

    model = jax.tree_util.Partial(rnn.advance, net, params)
    _, written = decoding.sample(
        model,
        net.initial_state(params),
        jnp.array([104, 105]),
        8,
        jax.random.key(4),
        temperature=0.8,
        top_k=20,
    )
    print("decoding: eight tokens after [104, 105]:", written.tolist(), "(untrained)")


def train(steps: int) -> float:
    """Train an LSTM to add; the loss at the end."""
    net = rnn.Stack((rnn.LSTM(32), rnn.Dense(1)))
    tx = training.optimizer(optax.cosine_decay_schedule(1e-2, steps))
    state = training.TrainState.create(
        net, net.init(jax.random.key(0), rnn.features(2)), tx, jax.random.key(1)
    )
    step = training.bptt_step(net, tasks.scored(training.mse), tx)
    state, history = training.fit(
        step, state, tasks.batches(tasks.adding, jax.random.key(2), length=20, batch=64), steps
    )
    loss = history.metrics["loss"]
    for n in sorted({0, *range(steps // 6, steps, max(1, steps // 6)), steps - 1}):
        bar = "#" * round(200 * min(float(loss[n]), 0.4))
        print(f"  step {n + 1:5d}  squared error {loss[n]:.4f}  {bar}")
    return float(loss[-min(20, steps) :].mean())


def main(argv: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600, help="training steps of the toy task")
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error("--steps must be at least 1")
    tour()
    print("\nan LSTM learns to add two marked numbers (0.167 knows nothing):")
    loss = train(args.steps)
    print(f"squared error over the last steps: {loss:.5f}")
    return loss


if __name__ == "__main__":
    main()
