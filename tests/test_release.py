"""What is released: one version, types that a user's checker sees."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import jaxrnn as rnn

ROOT = Path(rnn.__file__).parents[1]

USERS = '''# pyright: strict, reportMissingTypeStubs=false
"""A user's program."""

import jax
import optax

import jaxrnn as rnn
from jaxrnn import decoding, training

net = rnn.Stack((rnn.Embed(30, 16), rnn.LSTM(32), rnn.Dropout(0.1), rnn.Dense(30)))
params = net.init(jax.random.key(0), rnn.TOKEN)
tokens = jax.random.randint(jax.random.key(1), (50, 8), 0, 30)
mask = rnn.lengths_to_mask(tokens[0], 50)
state, logits = rnn.unroll(net, params, tokens, mask=mask, strategy=rnn.Chunked(8))
state, logits = rnn.advance(net, params, state, tokens[0])

tx = training.optimizer(optax.adamw(1e-3), clip=1.0)
run = training.TrainState.create(net, params, tx, jax.random.key(1))
step = training.bptt_step(net, training.cross_entropy, tx)
run, metrics = step(run, training.Batch(tokens[:-1], tokens[1:]))
loss: jax.Array = metrics.loss

rnn.save("net.safetensors", net, run.params, rnn.TOKEN, metadata={"loss": float(loss)})
saved = rnn.load("net.safetensors")
rnn.save_async("net.safetensors", saved.layer, saved.params, saved.x).result()
again: rnn.Layer = rnn.saving.from_json(rnn.saving.to_json(net))

model = jax.tree_util.Partial(rnn.advance, net, params)
state, greedy = decoding.greedy(model, net.initial_state(params), tokens[:1, 0], 20)
cell: rnn.Layer = rnn.Bidirectional(rnn.GRU(8), merge="sum")
size: int = rnn.GRU(8).hidden
'''

WRONG = """import jaxrnn as rnn

rnn.GRU("8")
rnn.Stak(())
rnn.Bidirectional(rnn.GRU(8), merge="add")
rnn.GRU(8).hidden = 9
"""


@pytest.mark.slow
def test_a_users_types_are_checked(tmp_path):
    for name, text in (("users", USERS), ("wrong", WRONG)):
        (tmp_path / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    made = subprocess.run(
        [*command, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    found = [
        (Path(said["file"]).name, said["range"]["start"]["line"] + 1)
        for said in json.loads(made.stdout)["generalDiagnostics"]
    ]
    assert sorted(found) == [("wrong.py", line) for line in (3, 4, 5, 6)], made.stdout


def test_the_version_is_said_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "jaxrnn/__init__.py"
    # GitHub and others read the citation as it stands, so it cannot ask for the version.
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [rnn.__version__]
    assert f"## {rnn.__version__}" in (ROOT / "CHANGELOG.md").read_text()
