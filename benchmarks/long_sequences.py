"""What backpropagation through a long sequence costs, and what vmap costs.

    python -m benchmarks.long_sequences [--million] [--levels]

Gradient in the params of an LSTM(128) on 32 features at B=1, loss on the final state: temporaries
as the compiler plans them, and times by turns, medians. Then a stack with embedding, head and
per-step loss through `fold`, and `vmap` over batch-first data against native batches. Compile time
is apart. With `--levels` instead what is in benchmarks/levels.py: up to ten million steps.
"""

import argparse

import jax
import jax.numpy as jnp

import jaxrnn as rnn
from benchmarks import levels
from benchmarks.timing import compare


def final_state(steps):
    cell = rnn.LSTM(128)
    params = cell.init(jax.random.key(0), rnn.features(32))
    xs = jax.random.normal(jax.random.key(1), (steps, 1, 32))

    def gradient(strategy):
        return jax.grad(
            lambda params, xs: jnp.sum(rnn.unroll(cell, params, xs, strategy=strategy)[0].h ** 2)
        )

    return gradient, (params, xs)


def network(steps):
    net = rnn.Stack((rnn.Embed(256, 64), rnn.LSTM(128), rnn.LSTM(128), rnn.Dense(256)))
    params = net.init(jax.random.key(0), rnn.TOKEN)
    tokens = jax.random.randint(jax.random.key(1), (steps, 1), 0, 256)

    def add(total, params, logits, targets, mask):
        return total - jnp.sum(
            jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)
        )

    def gradient(strategy):
        return jax.grad(
            lambda params, tokens: rnn.fold(
                net, params, tokens, add, 0.0, extra=tokens, strategy=strategy
            )[1]
        )

    return gradient, (params, tokens)


def mapped(batch, steps, features, hidden):
    cell = rnn.LSTM(hidden)
    params = cell.init(jax.random.key(0), rnn.features(features))
    xs = jax.random.normal(jax.random.key(1), (batch, steps, features))

    def native(params, xs):
        return jnp.sum(rnn.unroll(cell, params, xs.swapaxes(0, 1))[1] ** 2)

    def vmap(params, xs):
        return jnp.sum(jax.vmap(rnn.unroll, (None, None, 0))(cell, params, xs)[1] ** 2)

    return {
        name: (jax.grad(f, (0, 1)), (params, xs))
        for name, f in (("batch axis", native), ("vmap", vmap))
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--million", action="store_true", help="also run T=1,000,000 (a minute)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--levels", action="store_true", help="levels of chunks (minutes)")
    options = parser.parse_args()
    if options.levels:
        return levels.main(options.repeats)
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {jax.device_count()} device(s)"
    )

    gradient, args = final_state(100_000)
    strategies = (rnn.Scan(), rnn.Chunked(1000), rnn.Chunked(316))
    compare(
        "LSTM(128), T=100,000, B=1, final state",
        {repr(s): (gradient(s), args) for s in strategies},
        options.repeats,
    )
    gradient, args = network(20_000)
    strategies = (rnn.Scan(), rnn.Chunked(1000), rnn.Chunked(141))
    compare(
        "Embed(256, 64), 2 x LSTM(128), Dense(256), T=20,000, B=1, per-step loss by fold",
        {repr(s): (gradient(s), args) for s in strategies},
        options.repeats,
    )
    for shape in ((32, 128, 128, 128), (64, 256, 256, 256)):
        compare(
            f"LSTM, batch first, gradient in params and inputs, (B, T, D, H) = {shape}",
            mapped(*shape),
            2 * options.repeats,
        )
    if options.million:
        gradient, args = final_state(1_000_000)
        compare(
            "LSTM(128), T=1,000,000, B=1, final state",
            {repr(s): (gradient(s), args) for s in (rnn.Chunked(1000),)},
            1,
        )
        gradient, args = network(1_000_000)
        compare(
            "The network above, T=1,000,000",
            {repr(s): (gradient(s), args) for s in (rnn.Chunked(1000),)},
            1,
        )


if __name__ == "__main__":
    main()
