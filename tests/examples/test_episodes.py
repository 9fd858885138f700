"""The agent over many episodes: the maze by hand, learning from what was acted, and the whole run
with few steps.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.running import example

episodes = example("episodes")
TASK = episodes.Task(corridor=2, agents=3, steps=20, hidden=4)


@pytest.fixture(scope="module")
def params():
    return TASK.net.init(jax.random.key(0), rnn.features(4))


@functools.cache
def acted():
    def both(params, kind, key):
        taken = episodes.act(TASK, params, kind, key)
        return taken, episodes.read(TASK, params, kind, taken)

    return jax.jit(both)


@pytest.mark.parametrize("kind", episodes.KINDS)
def test_it_learns_from_what_it_acted_by_where_the_resets_are_the_same(kind, params):
    taken, (logits, _) = acted()(params, list(episodes.KINDS).index(kind), jax.random.key(1))
    assert taken.first.sum() > TASK.agents  # more than one episode a row
    apart = float(jnp.abs(logits - taken.logits).max())
    assert (apart < 1e-5) == (kind != "learner")


def test_the_maze_by_hand():
    place, side, steps = jnp.array([0, 2, 2]), jnp.array([1, 1, 0]), jnp.array([0, 2, 2])
    maze = episodes.Maze(place, side, steps)
    want = [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    np.testing.assert_array_equal(episodes.observe(TASK, maze), want)
    after, reward, done, turned = episodes.move(TASK, maze, jnp.array([0, 2, 2]), jax.random.key(0))
    np.testing.assert_array_equal(after.place, [1, 0, 0])
    np.testing.assert_array_equal(after.steps, [1, 0, 0])
    np.testing.assert_allclose(reward, [0, 4, -0.1], rtol=1e-6)
    assert (done.tolist(), turned.tolist()) == ([False, True, True], [False, True, False])


def test_the_advantages_are_those_of_a_loop():
    keys = jax.random.split(jax.random.key(0))
    values, reward = jax.random.normal(keys[0], (2, 9, 3))
    done = jax.random.bernoulli(keys[1], 0.3, (9, 3))
    got = episodes.advantages(values, reward, done, 0.9, 0.8)
    values, reward, done = map(np.asarray, (values, reward, done))
    want, later = np.zeros((8, 3)), np.zeros(3)
    for t in reversed(range(8)):
        on = 1.0 - done[t]
        later = reward[t] + 0.9 * on * values[t + 1] - values[t] + 0.9 * 0.8 * on * later
        want[t] = later
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_it_runs_and_learns(tmp_path, capsys):
    sizes = {"corridor": 3, "length": 30, "batch": 32, "hidden": 16, "steps": 150, "seeds": 1}
    options = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    episodes.main([*options, "--kinds", "right", "always", "--out", str(tmp_path)])
    assert "no memory" in capsys.readouterr().out
    run = json.loads((tmp_path / "results.json").read_text())["runs"][0]
    assert run["right"] > 0.9
    assert run["always"] < 0.7
    assert (tmp_path / "episodes.png").read_bytes().startswith(b"\x89PNG")
