"""The gradient of a diagonal linear recurrence, by every way of writing it: `python -m benchmarks.linear_scan`.

`h_t = a_t h_{t-1} + b_t` over T=16,384 steps of N=256 numbers; the gradient of a sum of squares in a, b and the first state. Each way's gradient is
held to the first one's before it is timed. Temporaries as the compiler plans them, times by turns, medians; compile time is apart.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn
from benchmarks.timing import compare


def associative_scan(a, b, start):
    """What one would write with JAX alone."""

    def after(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(after, (a, b.at[0].add(a[0] * start)))[1]


def plain_scan(a, b, start):
    def step(h, ab):
        h = ab[0] * h + ab[1]
        return h, h

    return jax.lax.scan(step, start, (a, b))[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=16_384)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {jax.device_count()} device(s)")
    keys = jax.random.split(jax.random.key(0))
    args = (jax.nn.sigmoid(jax.random.normal(keys[0], (options.steps, options.size))),
            jax.random.normal(keys[1], (options.steps, options.size)), jnp.ones(options.size))  # fmt: skip
    ways = {"jax.grad through lax.associative_scan": associative_scan, "jax.grad through lax.scan": plain_scan}
    for radix in (0, 16, 128):
        ways[f"linear_scan(radix={radix})"] = lambda a, b, start, radix=radix: rnn.linear_scan(a, b, start, radix=radix)[1]
    cases = {name: (jax.grad(lambda a, b, start, f=f: jnp.sum(f(a, b, start) ** 2), (0, 1, 2)), args) for name, f in ways.items()}
    want = jax.jit(next(iter(cases.values()))[0])(*args)
    for gradient, _ in cases.values():
        for x, y in zip(jax.jit(gradient)(*args), want, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4 * float(jnp.abs(y).max()))
    jax.clear_caches()  # so that compile times are of compiling
    compare(f"T={options.steps:,}, N={options.size}", cases, options.repeats)


if __name__ == "__main__":
    main()
