"""The README tells the truth."""

import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from cases import CELLS, kinds

import jaxrnn as rnn

README = Path(__file__).parent.parent.joinpath("README.md").read_text()


@pytest.mark.slow
def test_the_tour_runs():
    scope: dict = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, scope)


def test_the_table_names_everything_public():
    table = README.split("## What is there")[1].split("## The laws")[0]
    for name in dir(rnn):
        thing = getattr(rnn, name)
        if (
            inspect.isclass(thing)
            and issubclass(thing, rnn.Layer | rnn.Strategy)
            and thing is not rnn.Strategy
        ):
            assert f"`{name}" in table, f"{name} is missing from the README's table"


def test_the_table_of_strategies_and_cells_is_true():
    table = README.split("### Which strategy runs which cell")[1].split("\n\n")[1]
    rows = [[column.strip() for column in row.split("|")[1:-1]] for row in table.split("\n")[2:]]
    named = {name: row[1:] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    public = [
        thing
        for thing in vars(rnn).values()
        if inspect.isclass(thing) and issubclass(thing, rnn.Cell) and not inspect.isabstract(thing)
    ]
    assert set(named) == {c.__name__ for c in public}
    cells = {kind.__name__: case.cell for case in CELLS.values() for kind in kinds(case.cell)} | {
        type(c.cell).__name__: c.cell for c in CELLS.values()
    }
    for name, (scan, chunked, associative, newton, auto) in named.items():
        cell = cells[name]
        linear, params = (
            isinstance(cell, rnn.LinearCell),
            jax.eval_shape(
                lambda key, cell=cell: cell.init(key, rnn.features(2)), jax.random.key(0)
            ),
        )

        def runs(strategy, cell=cell, params=params):
            try:
                jax.eval_shape(
                    lambda p: rnn.unroll(cell, p, jnp.ones((4, 2)), strategy=strategy), params
                )
            except TypeError:
                return False
            return True

        assert (scan, chunked, auto) == ("yes", "yes", "`Associative`" if linear else "`Scan`")
        assert runs(rnn.Associative(otherwise=rnn.Scan()))
        assert associative == ("yes" if runs(rnn.Associative()) else "by `otherwise`")
        assert newton.startswith(
            "as `Associative`"
            if linear
            else "its own"
            if getattr(cell, "elementwise", False)
            else "full or diagonal"
        )
        assert auto == f"`{type(rnn.Auto().select(cell, jnp.ones((4, 2)))[0].strategy).__name__}`"


def test_two_commands_each_on_one_line():
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2]
    assert all(c.startswith("python3 -m venv .venv && ") and c.count("\n") == 1 for c in commands)
