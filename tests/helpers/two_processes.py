"""A small run on several processes, a program of its own; each has one CPU device.

    python two_processes.py DIRECTORY PORT PROCESSES PROCESS [WHERE STEP SIGNAL]

Prints the losses of all steps and the params, as JSON. WHERE is the process that ends itself by a
signal as it makes the batch of that step.
"""

import json
import os
import signal
import sys

import jax
import numpy as np
import optax
from jax.sharding import Mesh

import jaxrnn as rnn
from jaxrnn import data, training

NET = rnn.Stack((rnn.Embed(7, 3), rnn.LSTM(4), rnn.Dropout(0.2), rnn.Dense(7)))
TOKENS = np.random.default_rng(0).integers(0, 7, 400).astype(np.int32)
SEGMENTS = data.Segments(TOKENS, batch=4, length=6)


def begun(batch=4):
    params = NET.init(jax.random.key(0), rnn.TOKEN)
    return training.TrainState.create(NET, params, TX, jax.random.key(1), (batch,))


TX = training.optimizer(optax.adamw(3e-2), clip=0.5)


def main(directory, port, processes, process, where="", at="0", number="0"):
    if int(processes) > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(
            f"localhost:{port}",
            int(processes),
            int(process),
            shutdown_timeout_seconds=3,  # that it waits for a process that was killed
        )
    mesh = Mesh(jax.devices(), "batch")
    rows = SEGMENTS.batch // int(processes)
    mine = slice(int(process) * rows, (int(process) + 1) * rows)

    def batches(step):
        if (process, step) == (where, int(at)):
            os.kill(os.getpid(), signal.Signals[number])
        batch = SEGMENTS(step)
        if step % 2:  # the whole batch, or the rows of this process
            return data.place(batch, mesh)
        return data.place(jax.tree.map(lambda x: x[:, mine], batch), mesh, local=True)

    def evaluate(state):
        held = data.stream(TOKENS)
        _, found = training.evaluate(NET, training.cross_entropy, state.params, held)
        return {"bits": float(found.bits)}

    step = training.truncated_bptt_step(NET, training.cross_entropy, TX)
    state, history = training.fit(
        step,
        training.place(begun(), mesh),
        batches,
        12,
        directory=directory,
        save_every=3,
        evaluate=evaluate,
        evaluate_every=4,
        best="bits",
        best_mode="min",
        fetch_every=2,
    )
    params = [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(state.params)]
    carry = [len(leaf.addressable_shards[0].data) for leaf in jax.tree.leaves(state.carry)]
    losses = history.metrics["loss"].tolist()
    best = history.best.step, history.best.score
    print(json.dumps([losses, params, best, carry, int(state.step), history.finished]))


if __name__ == "__main__":
    main(*sys.argv[1:])
