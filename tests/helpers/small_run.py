"""A run of 24 steps, small enough to be killed and resumed many times.

As a program it is the process that is killed:

    python small_run.py DIRECTORY [WHERE STEP SIGNAL]    WHERE is batch, evaluate or save
"""

import os
import signal
import sys
from functools import partial

import jax
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, training

NET = rnn.Stack((rnn.Embed(7, 3), rnn.LSTM(4), rnn.Dropout(0.2), rnn.Dense(7)))
PARAMS = NET.init(jax.random.key(0), rnn.TOKEN)
TOKENS = np.random.default_rng(0).integers(0, 7, 400).astype(np.int32)
SEGMENTS = data.Segments(TOKENS, batch=2, length=6)
TX = training.optimizer(optax.adamw(3e-2))
STEP = training.truncated_bptt_step(NET, training.cross_entropy, TX)
START = training.TrainState.create(NET, PARAMS, TX, jax.random.key(1), (2,))


def bits(state):
    _, found = training.evaluate(NET, training.cross_entropy, state.params, data.stream(TOKENS))
    return {"bits": float(found.bits)}


# What an evaluation finds at each step: equal scores, NaN, and after step 16 nothing better.
SCORES = {4: 3.0, 8: float("nan"), 12: 1.0, 16: 2.0, 20: 1.0, 24: 2.0, 28: 0.5, 32: 0.5}


def scores(state):
    return {"score": SCORES[int(state.step)]}


FIT = partial(
    training.fit,
    STEP,
    START,
    save_every=8,
    evaluate=bits,
    evaluate_every=8,
    fetch_every=5,
    progress=False,
)
# The best one is of step 12; three evaluations later, at step 24, it ends.
BEST = partial(
    FIT,
    steps=32,
    save_every=5,
    evaluate=scores,
    evaluate_every=4,
    best="score",
    best_mode="min",
    patience=3,
)

if __name__ == "__main__":
    directory, where, at, number = sys.argv[1], *(*sys.argv[2:], "", "0", "0")[:3]

    def now(place, step):
        if place == where and step == int(at):
            os.kill(os.getpid(), signal.Signals[number])

    def batches(step):
        now("batch", step)
        return SEGMENTS(step)

    def evaluate(state):
        found = scores(state)
        now("evaluate", int(state.step))
        return found

    rename = os.rename

    def renamed(source, target, **options):
        now("save", int(os.path.basename(target)) if os.path.basename(target).isdecimal() else -1)
        rename(source, target, **options)

    os.rename = renamed
    BEST(batches, directory=directory, evaluate=evaluate)
