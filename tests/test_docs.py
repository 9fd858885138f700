"""The README and the pages of docs tell the truth."""

import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import jaxrnn as rnn
from helpers.cases import CELLS, kinds

ROOT = Path(__file__).parents[1]
PEERS = "equinox", "flax", "haiku", "keras", "onnx", "onnxruntime", "torch"
README = (ROOT / "README.md").read_text()
PAGES = {path.stem: path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}


def snippets(page):
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def peers(page):
    """The libraries that the snippets of a page import, and that need not be there."""
    return sorted(set(re.findall(rf"^(?:import|from) ({'|'.join(PEERS)})\b", page, re.MULTILINE)))


def programs():
    """Each page with snippets; where they import other libraries, each of its sections."""
    for name, page in PAGES.items():
        sections = page.split("\n## ") if peers(page) else [page]
        for section in filter(snippets, sections):
            title = section.partition("\n")[0]
            yield pytest.param(section, id=name if section is page else f"{name}: {title}")


@pytest.mark.slow
@pytest.mark.parametrize("program", list(programs()))
def test_every_snippet_of_a_page_runs(program):
    for package in peers(program):
        pytest.importorskip(package)
    scope: dict = {"__name__": "page"}
    for snippet in snippets(program):
        exec(snippet, scope)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file(name):
    folder = ROOT if name == "README" else ROOT / "docs"
    for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", PAGES[name]):
        assert (folder / link).exists(), link


def test_every_page_is_found_from_the_index():
    for name in set(PAGES) - {"README", "index"}:
        assert f"({name}.md)" in PAGES["index"], name


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 250


def test_the_table_names_everything_public():
    table = README.split("## What there is")[1].split("## Where to read on")[0]
    for name in dir(rnn):
        thing = getattr(rnn, name)
        if (
            inspect.isclass(thing)
            and issubclass(thing, rnn.Layer | rnn.Strategy)
            and thing is not rnn.Strategy
        ):
            assert f"`{name}" in table, f"{name} is missing from the README's table"


def test_the_table_of_strategies_and_cells_is_true():
    page = PAGES["strategies"]
    table = page.split("## Which strategy runs which cell")[1].split("\n\n")[1]
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
        assert runs(rnn.Associative(fallback=rnn.Scan()))
        assert associative == ("yes" if runs(rnn.Associative()) else "by `fallback`")
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
