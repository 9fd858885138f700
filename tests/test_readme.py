"""The README tells the truth."""

import inspect
import re
from pathlib import Path

import jaxrnn as rnn

README = Path(__file__).parent.parent.joinpath("README.md").read_text()


def test_the_tour_runs():
    scope: dict = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, scope)


def test_the_table_names_everything_public():
    table = README.split("## What is there")[1].split("## The laws")[0]
    for name in dir(rnn):
        thing = getattr(rnn, name)
        if inspect.isclass(thing) and issubclass(thing, rnn.Cell | rnn.Strategy) and thing is not rnn.Strategy:
            assert f"`{name}" in table, f"{name} is missing from the README's table"


def test_two_commands_each_on_one_line():
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2]
    assert all(c.startswith("python3 -m venv .venv && ") and c.count("\n") == 1 for c in commands)
