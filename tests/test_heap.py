"""Keeping the heap does what it says."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
import jaxrnn as rnn

if sys.argv[1] == "keep":
    assert rnn.keep_heap()
cell = rnn.Elman(256)
params, xs = cell.init(jax.random.key(0), rnn.features(1)), jnp.ones((128, 128, 1))
gradient = jax.jit(jax.grad(lambda p: rnn.unroll(cell, p, xs)[1].sum()))
faults = []
for _ in range(40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    jax.block_until_ready(gradient(params))
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(faults)[20])  # most calls; the first ones, up to ten of them, fill the heap
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_a_kept_heap_takes_no_new_pages():
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, how], stdout=subprocess.PIPE, check=True
            ).stdout
        )
        for how in ("", "keep")
    ]
    assert faults[0] > 5_000, "the check below sees what it looks for"
    assert faults[1] < faults[0] / 10
