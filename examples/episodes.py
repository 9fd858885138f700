"""A recurrent agent over many episodes, with resets inside one `unroll`, and what a wrong reset
costs.

    python examples/episodes.py                          every kind of reset, three seeds
    python examples/episodes.py --corridor 20            a longer memory
    python examples/episodes.py --kinds right late       some of them

The task is a T-maze (Bakker 2002). In the first step a signal says left or right; then comes a
corridor whose places all look the same; at its end the agent must turn to the side that the signal
said. The maze, the agent (an LSTM with a policy and a value) and its learning (advantage
actor-critic, with the advantages of Schulman et al. 2016) are one jitted program. Rows are many
episodes, one after another: the agent acts step by step with `advance(..., reset=)`, and learns
from the same steps by one `unroll(..., resets=)`.

A reset belongs to the first step of an episode. Beside that are shown a reset one step late, which
forgets the signal as soon as it was seen; no resets in learning, so that `unroll` computes other
outputs than the agent acted by; none at all, so that one episode runs into the next; and one at
every step, which is an agent without memory. Interrupted, the same command goes on where the last
checkpoint is.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import training
from support import experiments

KINDS = {
    "right": "at the first step of an episode",
    "late": "one step late",
    "learner": "at the first step, but none in learning",
    "never": "none",
    "always": "at every step: no memory",
}

ACTIONS = 3  # on, left, right

LATE = (
    "An agent that is reset one step late has forgotten the signal, but not what it did in the "
    "first step: it learns to go on or to stay by the signal, and then to count the steps to the "
    "junction."
)


class Maze(NamedTuple):
    """Where each agent is, `[B]`: its place in the corridor, the side that pays (0 left, 1 right),
    and the steps of its episode so far.
    """

    place: jax.Array
    side: jax.Array
    steps: jax.Array


class Taken(NamedTuple):
    """The steps of many agents, `[T, B]` and more, and whether one began or ended an episode."""

    seen: jax.Array
    first: jax.Array
    action: jax.Array
    logits: jax.Array
    reward: jax.Array
    done: jax.Array
    turned: jax.Array  # to the right side


class Task(NamedTuple):
    """The sizes of the maze and of what is learnt from at once."""

    corridor: int
    agents: int
    steps: int
    hidden: int

    @property
    def net(self) -> rnn.Stack:
        return rnn.Stack((rnn.LSTM(self.hidden), rnn.Dense(ACTIONS + 1)))


def parser() -> argparse.ArgumentParser:
    made = experiments.parser(
        "episodes",
        __doc__,
        steps=500,
        seeds=3,
        batch=64,
        lr=5e-3,
        save_every=250,
        evaluate_every=25,
    )
    add = made.add_argument
    add("--batch", type=experiments.positive, default=64, help="agents (default: %(default)s)")
    add(
        "--corridor",
        type=experiments.positive,
        default=10,
        help="places between the signal and the junction (default: %(default)s)",
    )
    add(
        "--length",
        type=experiments.positive,
        default=100,
        help="steps that are learnt from at once, of several episodes (default: %(default)s)",
    )
    add("--hidden", type=experiments.positive, default=32, help="(default: %(default)s)")
    add(
        "--kinds",
        nargs="+",
        choices=tuple(KINDS),
        default=list(KINDS),
        help="of resets (default: all)",
    )
    return made


def begin(key: jax.Array, agents: int) -> Maze:
    side = jax.random.bernoulli(key, 0.5, (agents,)).astype(jnp.int32)
    return Maze(jnp.zeros(agents, jnp.int32), side, jnp.zeros(agents, jnp.int32))


def observe(task: Task, maze: Maze) -> jax.Array:
    """`[B, 4]`: the signal for left and for right, in an episode's first step alone; a corridor;
    the junction.
    """
    start, end = maze.steps == 0, maze.place == task.corridor
    parts = [start & (maze.side == 0), start & (maze.side == 1), ~start & ~end, end]
    return jnp.stack(parts, axis=-1).astype(jnp.float32)


def move(
    task: Task, maze: Maze, action: jax.Array, key: jax.Array
) -> tuple[Maze, jax.Array, jax.Array, jax.Array]:
    """The maze after a step, in a new episode where the old one ended; the reward (4 for the right
    turn, -0.1 for a wrong one and for a wall); whether the episode ended, and with the right turn.
    """
    junction = maze.place == task.corridor
    turns = junction & (action > 0)
    turned = turns & (action == maze.side + 1)
    on = ~junction & (action == 0)
    reward = jnp.where(turned, 4.0, jnp.where(on, 0.0, -0.1))
    later = Maze(maze.place + on.astype(jnp.int32), maze.side, maze.steps + 1)
    done = turns | (later.steps >= 4 * task.corridor)
    fresh = begin(key, task.agents)
    return jax.tree.map(functools.partial(jnp.where, done), fresh, later), reward, done, turned


def flags(kind: jax.Array, first: jax.Array, before: jax.Array, learns: bool) -> jax.Array:
    """The resets of a kind, from where episodes begin and where they did a step before."""
    never, always = jnp.zeros_like(first), jnp.ones_like(first)
    return jax.lax.select_n(kind, first, before, never if learns else first, never, always)


def act(task: Task, params: Any, kind: jax.Array, key: jax.Array) -> Taken:
    """`task.steps` steps of all agents, from the beginning of an episode."""
    net = task.net

    def step(carry: Any, key: jax.Array) -> tuple[Any, Taken]:
        maze, before, state = carry
        choose, anew = jax.random.split(key)
        first, seen = maze.steps == 0, observe(task, maze)
        reset = flags(kind, first, before, learns=False)
        state, out = rnn.advance(net, params, state, seen, reset=reset)
        logits = out[..., :ACTIONS]
        action = jax.random.categorical(choose, logits)
        maze, reward, done, turned = move(task, maze, action, anew)
        taken = Taken(seen, first, action, logits, reward, done, turned)
        return (maze, first, state), taken

    start, key = jax.random.split(key)
    before = jnp.zeros(task.agents, bool)
    carry = begin(start, task.agents), before, net.initial_state(params, (task.agents,))
    return jax.lax.scan(step, carry, jax.random.split(key, task.steps))[1]


def read(task: Task, params: Any, kind: jax.Array, taken: Taken) -> tuple[jax.Array, jax.Array]:
    """The logits and the values of the same steps, by one `unroll` over all of their episodes."""
    before = jnp.concatenate([jnp.zeros_like(taken.first[:1]), taken.first[:-1]])
    resets = flags(kind, taken.first, before, learns=True)
    _, out = rnn.unroll(task.net, params, taken.seen, resets=resets)
    return out[..., :ACTIONS], out[..., ACTIONS]


def advantages(
    values: jax.Array, reward: jax.Array, done: jax.Array, discount: float, share: float
) -> jax.Array:
    """`A_t = d_t + discount share (1 - done_t) A_{t+1}` for `d_t = r_t + discount (1 - done_t)
    v_{t+1} - v_t`: a linear recurrence against time. The last step lends its value alone.
    """
    on = 1.0 - done[:-1].astype(values.dtype)
    errors = reward[:-1] + discount * on * values[1:] - values[:-1]
    return rnn.linear_scan(discount * share * on, errors, jnp.zeros_like(errors[0]), reverse=True)[
        1
    ]


def objective(task: Task, params: Any, kind: jax.Array, key: jax.Array) -> training.MaskedMean:
    """The loss of an actor-critic: the policy's, half the square error of the value, and an
    entropy that keeps it trying.
    """
    taken = jax.lax.stop_gradient(act(task, params, kind, key))
    logits, values = read(task, params, kind, taken)
    gain = jax.lax.stop_gradient(advantages(values, taken.reward, taken.done, 0.98, 0.9))
    logs, values = jax.nn.log_softmax(logits[:-1]), values[:-1]
    chosen = jnp.take_along_axis(logs, taken.action[:-1, :, None], axis=-1)[..., 0]
    entropy = -(jnp.exp(logs) * logs).sum(-1)
    error = values - jax.lax.stop_gradient(values) - gain
    return training.MaskedMean.over(-gain * chosen + 0.5 * error**2 - 0.02 * entropy)


def one(args: argparse.Namespace, seed: int, folder: pathlib.Path) -> dict[str, Any]:
    """Train an agent with each kind of reset from one seed, and see how many episodes end well."""
    task = Task(args.corridor, args.batch, args.length, args.hidden)
    tx = training.optimizer(optax.adam(args.lr), clip=0.5)
    step = training.make_step(functools.partial(objective, task), tx)

    @jax.jit
    def judged(params: Any, kind: jax.Array) -> tuple[jax.Array, jax.Array]:
        key = jax.random.key(10_000 + seed)
        taken = act(task._replace(steps=8 * task.corridor), params, kind, key)
        logits, _ = read(task, params, kind, taken)
        ended = jnp.maximum(taken.done.sum(), 1)
        return taken.turned.sum() / ended, jnp.abs(logits - taken.logits).max()

    results: dict[str, Any] = {}
    for name in args.kinds:
        kind = jnp.int32(list(KINDS).index(name))
        keys = jax.random.split(jax.random.key(seed))
        params = task.net.init(keys[0], rnn.features(4))
        state = training.TrainState.create(None, params, tx, keys[1])

        def evaluate(state: training.TrainState, kind: jax.Array = kind) -> dict[str, float]:
            return {"right": float(judged(state.params, kind)[0])}

        fitted = training.fit(
            step,
            state,
            lambda _, kind=kind: kind,
            args.steps,
            directory=folder / name / "checkpoints",
            evaluate=evaluate,
            **experiments.often(args),
        )
        state, history = experiments.trained(fitted)
        results[name], results[f"{name} apart"] = map(float, judged(state.params, kind))
        results[f"{name} curve"] = history.evaluations["right"].tolist()
        results["steps"] = history.evaluations["step"].tolist()
    return results


def work(args: argparse.Namespace) -> None:
    print(
        f"T-maze: a corridor of {args.corridor}, {args.batch} agents, "
        f"{args.length} steps an update, resets: {', '.join(args.kinds)}"
    )
    runs = experiments.seeds(args, functools.partial(one, args))
    picture = args.out / "episodes.png"
    draw(picture, args.kinds, runs)
    labels = {f"resets {KINDS[name]}": name for name in args.kinds}
    apart = {label: f"{name} apart" for label, name in labels.items()}
    experiments.report(
        args,
        runs,
        [
            experiments.Table("episodes that end with the right turn", labels, {"a coin": 0.5}),
            experiments.Table(
                "largest difference between what `unroll` learns from and what `advance` acted by",
                apart,
                unit="logits",
                digits=6,
            ),
        ],
        shape="many to many, equal",
        data="a T-maze, in JAX",
        shows="an agent over many episodes in one row, and what a wrong reset costs",
        picture=picture,
        notes=[LATE] if "late" in args.kinds else [],
    )


def draw(path: pathlib.Path, kinds: list[str], runs: list[dict[str, Any]]) -> None:
    """How many episodes end well, against the updates: a line for each kind, a band for its
    seeds.
    """
    with experiments.figure(path, size=(8, 4.4)) as axes:
        for n, name in enumerate(kinds):
            curves = 100 * np.array([run[f"{name} curve"] for run in runs])
            steps = runs[0]["steps"]
            axes.plot(steps, curves.mean(0), color=f"C{n}", lw=2, label=f"reset {KINDS[name]}")
            axes.fill_between(steps, curves.min(0), curves.max(0), color=f"C{n}", alpha=0.15, lw=0)
        axes.axhline(50, color="#888888", lw=1, ls="--")
        axes.set(
            xlabel="updates",
            ylabel="episodes that end with the right turn (%)",
            ylim=(0, 102),
        )
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
