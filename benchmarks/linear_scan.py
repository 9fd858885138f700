"""The gradient of a diagonal linear recurrence, by every way of writing it.

    python -m benchmarks.linear_scan

`h_t = a_t h_{t-1} + b_t` over T=16,384 steps of N=256 numbers; the gradient of a sum of squares in
a, b and the first state. Each way's gradient is held to that through `lax.scan` before it is timed.
Each runs in a process of its own, by turns: what another way leaves of the heap decides how many
pages the kernel must zero. Temporaries as the compiler plans them; the median of the processes'
medians, and the least and the most of these.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn
from benchmarks.peers import associative, plain
from benchmarks.timing import compiled

WAYS = {
    "jax.grad through lax.associative_scan": associative.scan,
    "jax.grad through lax.scan": plain.recurrence,
} | {
    f"linear_scan(radix={radix})": lambda a, b, start, radix=radix: rnn.linear_scan(
        a, b, start, radix=radix
    )[1]
    for radix in (0, 16, 128)
}


def measured(name, steps, size, repeats):
    keys = jax.random.split(jax.random.key(0))
    args = (
        jax.nn.sigmoid(jax.random.normal(keys[0], (steps, size))),
        jax.random.normal(keys[1], (steps, size)),
        jnp.ones(size),
    )

    def gradient(f):
        return jax.grad(lambda a, b, start: jnp.sum(f(a, b, start) ** 2), (0, 1, 2))

    program, took = compiled(gradient(WAYS[name]), *args)
    for x, y in zip(program(*args), jax.jit(gradient(plain.recurrence))(*args), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4 * float(np.abs(y).max()))
    seconds, kept = [], None
    for _ in range(repeats + 2):
        began = time.perf_counter()
        # The last results are let go when the next are there, as in training.
        kept = jax.block_until_ready(program(*args))
        seconds.append(time.perf_counter() - began)
    del kept
    return {
        "seconds": statistics.median(seconds[2:]),
        "compile": took,
        "temporaries": program.memory_analysis().temp_size_in_bytes,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=16_384)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=20, help="in each process")
    parser.add_argument("--rounds", type=int, default=5, help="processes for each way")
    parser.add_argument("--only", choices=WAYS, help="measure one way here and print it as JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measured(options.only, options.steps, options.size, options.repeats)))
        return
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}; "
        f"T={options.steps:,}, N={options.size}",
        flush=True,
    )
    found = {name: [] for name in WAYS}
    for _ in range(options.rounds):
        for name in WAYS:
            settings = [f"--{key}={getattr(options, key)}" for key in ("steps", "size", "repeats")]
            process = subprocess.run(
                [sys.executable, "-m", "benchmarks.linear_scan", "--only", name, *settings],
                stdout=subprocess.PIPE,
                check=True,
            )
            found[name].append(json.loads(process.stdout))
    first = None
    for name, each in found.items():
        times = sorted(1e3 * one["seconds"] for one in each)
        middle = statistics.median(times)
        first = first or middle
        print(
            f"  {name:42s}{middle:8.1f} ms ({times[0]:.1f} to {times[-1]:.1f})"
            f"{first / middle:7.2f} times as fast"
            f"{each[0]['temporaries'] / 1e6:9.1f} MB temporaries"
            f"{each[0]['compile']:6.1f} s to compile"
        )


if __name__ == "__main__":
    main()
