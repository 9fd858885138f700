"""Gradients compiled for a card that is not here, a JSON line of what each becomes.

    python tests/helpers/ahead.py h100 [NAME ...]      (with the root and `tests` on the path)

A process of its own, because a compiler that gives up ends it, and because the tests' own process
optimizes less. A new program is one line of `PROGRAMS`.
"""

import importlib
import json
import os
import re
import sys
import tempfile

from benchmarks.ahead import compilers

os.environ.update(compilers.ENVIRONMENT)  # before anything imports JAX

import jax
import jax.numpy as jnp

import jaxrnn as rnn
from benchmarks.ahead import compile_for, report
from benchmarks.ahead.__main__ import BESIDE, TRAINED
from benchmarks.ahead.compilers import lower_for
from benchmarks.cases import Case
from benchmarks.peers import jaxrnn as ours
from helpers.programs import collectives

T, B, F, H = 128, 32, 128, 128


def gradient(cell, strategy):
    """Launches and temporaries of a gradient in params and inputs."""
    xs = jax.ShapeDtypeStruct((T, B, F), jnp.float32)
    params = jax.eval_shape(lambda key: cell.init(key, rnn.features(F)), jax.random.key(0))

    def loss(params, xs):
        return jnp.mean(jnp.square(rnn.unroll(cell, params, xs, strategy=strategy)[1]))

    return lambda target: report(jax.grad(loss, (0, 1)), params, xs, target=target, steps=T)


def exported(cell, **sizes):
    """An exported sequence, read again: for any sizes and three platforms, or for known sizes and
    the card's platform alone."""

    def compiled(target):
        params = cell.init(jax.random.key(0), F)
        if sizes:
            sizes["platforms"] = (compilers.TARGETS[target].platform,)
        with tempfile.TemporaryDirectory() as folder:
            rnn.export(f"{folder}/net", cell, params, F, **sizes)
            program = rnn.load_exported(f"{folder}/net").programs["sequence"]
        args = jax.tree.unflatten(program.in_tree, program.in_avals)[0]
        known = {"T": T, "B": B}

        def spec(a):
            shape = [known.get(str(n), n) for n in a.shape]
            return jax.ShapeDtypeStruct(shape, a.dtype)

        return report(program.call, *jax.tree.map(spec, args), target=target, steps=T)

    return compiled


def beside(cell):
    """flax nnx's gradient, which ours is held against."""

    def compiled(target):
        from benchmarks.peers import nnx

        program = nnx.build(Case(cell, B, T, F, H))
        return report(program.passes["gradient"], *program.args, target=target, steps=T)

    return compiled


def libraries(target):
    """What each library on JAX that is installed asks a card for, and the card's compiler takes:
    its products, those of whole inputs, the dtypes it computes in, and whether its gradients are
    shaped as what they are of."""
    found = {}
    for name in ("jaxrnn", *BESIDE):
        for case in (Case("lstm", 8, 6, 16, 32), Case("gru", 8, 6, 16, 32, layers=2)):
            try:
                program = importlib.import_module(f"benchmarks.peers.{name}").build(case)
            except ModuleNotFoundError:
                continue
            if program is None:
                continue
            gradient, args = program.passes["gradient"], program.args
            lowered = lower_for(target, gradient, *args)
            lowered.compile(compiler_options=compilers.TARGETS[target].options or None)
            text = lowered.as_text()
            products = re.findall("stablehlo.dot_general.*", text)
            loss, grads = jax.eval_shape(gradient, *args)
            found[f"{name} {case.cell}"] = {
                "products": len(products),
                "whole": sum("precision = [HIGHEST, HIGHEST]" in p for p in products),
                "dtypes": sorted(set(re.findall(r"tensor<(?:\d+x)*(b?f\d+)>", text))),
                "shapes": loss.shape == ()
                and jax.tree.map(jnp.shape, grads) == jax.tree.map(jnp.shape, args),
            }
    return found


def trained(target):
    """What four chips exchange in a training step, and the bytes of its params."""
    program = ours.other(TRAINED)
    step, args = program.passes["gradient"], program.args
    text = compile_for(target, step, *args, chips=4, split=(None, None, 1)).as_text()
    return {
        "exchanges": [[c.kind, c.bytes, c.loop] for c in collectives(text)],
        "params": sum(a.nbytes for a in jax.tree.leaves(args[0])),
    }


PROGRAMS = {
    "lstm": gradient(rnn.LSTM(H), rnn.Scan()),
    "gru": gradient(rnn.GRU(H), rnn.Scan()),
    "lstm both ways": gradient(rnn.Bidirectional(rnn.LSTM(H)), rnn.Scan()),
    "two lstms in waves": gradient(rnn.Stack((rnn.LSTM(H), rnn.LSTM(H))), rnn.Wavefront(32)),
    "lru": gradient(rnn.LRU(H), rnn.Scan()),
    "lru associative": gradient(rnn.LRU(H), rnn.Associative()),
    "fused lstm": gradient(rnn.LSTM(64), rnn.Fused()),
    "fused gru": gradient(rnn.GRU(64), rnn.Fused()),
    "fused elman": gradient(rnn.Elman(64), rnn.Fused()),
    "fused lru": gradient(rnn.LRU(64), rnn.Fused()),
    "exported lstm": exported(rnn.LSTM(H)),
    "exported lstm of known sizes": exported(rnn.LSTM(H), steps=T, rows=B),
    "nnx lstm": beside("lstm"),
    "nnx gru": beside("gru"),
    "training on 4 chips": trained,
}
OTHERS = {"libraries": libraries}  # by name alone


if __name__ == "__main__":
    for name in sys.argv[2:] or PROGRAMS:
        print(json.dumps([name, (PROGRAMS | OTHERS)[name](sys.argv[1])]), flush=True)
