"""A cell of your own: written in twenty lines, held to every law, trained.

    python examples/your_own_cell.py

The minimal gated unit (Zhou et al. 2016), which has one gate where a GRU has two, learns the adding
problem: of a sequence of numbers, add the two that are marked (Hochreiter & Schmidhuber 1997).
"""

import argparse
import time

import jax
import jax.numpy as jnp
import optax

import jaxrnn as rnn
from jaxrnn.testing import check_cell


class MinimalGatedUnit(rnn.Cell):
    """A gated unit with one gate.

    f = sigmoid(x @ w_f + h @ u_f + b_f)
    n = tanh(x @ w_n + (f * h) @ u_n + b_n)
    h' = (1 - f) * h + f * n
    y = h'
    """

    hidden: int

    def init(self, key, x):
        key_x, key_f, key_n = jax.random.split(key, 3)
        w_x = rnn.initializers.glorot(key_x, x.shape[-1], self.hidden, 2)
        u_f, u_n = (
            rnn.initializers.orthogonal(k, self.hidden, self.hidden) for k in (key_f, key_n)
        )
        return {"w_x": w_x, "b": jnp.zeros(2 * self.hidden), "u_f": u_f, "u_n": u_n}

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, self.hidden))

    def project(self, params, xs, noise=None):
        return rnn.matmul(xs, params["w_x"])

    def step(self, params, h, z, dot):
        z_f, z_n = jnp.split(dot.add(z, "b"), 2, axis=-1)
        f = jax.nn.sigmoid(z_f + dot(h, "u_f"))
        return (1 - f) * h + f * jnp.tanh(z_n + dot(f * h, "u_n"))

    def readout(self, params, h, z):
        return rnn.output(h, params["u_f"])  # the state is float32 where the params are bfloat16


def adding(key, steps, batch):
    """Inputs `[T, B, 2]`, numbers and marks, and the sum of the marked numbers `[B]`."""
    key_x, key_1, key_2 = jax.random.split(key, 3)
    numbers = jax.random.uniform(key_x, (steps, batch))
    first = jax.random.randint(key_1, (batch,), 0, steps // 2)
    second = jax.random.randint(key_2, (batch,), steps // 2, steps)
    marks = jax.nn.one_hot(first, steps, axis=0) + jax.nn.one_hot(second, steps, axis=0)
    return jnp.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=0)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=30, help="the length of a sequence")
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--skip-laws", action="store_true")
    args = parser.parse_args(argv)

    if not args.skip_laws:
        begun = time.perf_counter()
        check_cell(MinimalGatedUnit(4), rnn.features(2))
        took = time.perf_counter() - begun
        print(f"MinimalGatedUnit obeys the seven laws (checked in {took:.0f} s)")

    net = rnn.Stack((MinimalGatedUnit(args.hidden), rnn.Dense(1)))
    params = net.init(jax.random.key(0), rnn.features(2))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(5e-3))

    def loss(params, xs, targets):
        _, ys = rnn.unroll(net, params, xs)
        return jnp.mean((ys[-1, :, 0] - targets) ** 2)

    @jax.jit
    def update(params, state, key):
        value, gradient = jax.value_and_grad(loss)(params, *adding(key, args.steps, 64))
        change, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, change), state, value

    print("adding two of", args.steps, "numbers; always answering 1 has a loss of 0.167")
    state, key, value = optimizer.init(params), jax.random.key(1), jnp.inf
    for i in range(args.updates):
        params, state, value = update(params, state, jax.random.fold_in(key, i))
        if (i + 1) % max(args.updates // 10, 1) == 0:
            print(f"update {i + 1:5d}   loss {float(value):.4f}")
    return float(loss(params, *adding(jax.random.key(2), args.steps, 1000)))


if __name__ == "__main__":
    print(f"held out   loss {main():.4f}")
