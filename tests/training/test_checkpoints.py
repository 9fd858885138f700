"""Checkpoints: whole or refused, by one writer, of the run that is meant."""

import errno
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import pytest

import jaxrnn as rnn
from helpers import small_run
from helpers.equal import same
from helpers.small_run import BEST, FIT, NET, PARAMS, SEGMENTS, START, STEP, TX
from helpers.tables import first
from jaxrnn import training
from jaxrnn.training import checkpoints, integrity


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with two checkpoints, of steps 20 and 24, and what it returned."""
    folder = tmp_path_factory.mktemp("run")
    return folder, BEST(SEGMENTS, directory=folder)


@pytest.fixture
def copy(run, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    return tmp_path / "run"


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_kept_run_is_what_was_returned(run, tmp_path):
    folder, result = run
    assert names(folder) == ["20", "24"]
    same(training.restore(folder, START), result)
    for keep in (1, 3):
        FIT(SEGMENTS, 8, directory=tmp_path / str(keep), save_every=2, keep=keep)
        assert names(tmp_path / str(keep)) == ["2", "4", "6", "8"][-keep:]


def test_the_network_of_a_run_is_made_without_a_template(run, copy, tmp_path):
    folder, (_, history) = run
    same(training.restore_network(folder)[1], history.best.params)
    state, _ = FIT(SEGMENTS, 1, directory=tmp_path / "one")
    layer, params = training.restore_network(tmp_path / "one")
    assert layer == NET
    same(params, state.params)
    # What an earlier version wrote, or a step that knows no network.
    record = copy / "24" / "record.json"
    record.write_text(record.read_text().replace('"network"', '"other"'))
    (copy / "24" / integrity.SUMS).write_text(integrity.checksums(copy / "24"))
    same(training.restore(copy, START), run[1])
    with pytest.raises(ValueError, match="notes no network"):
        training.restore_network(copy)


# Damage


def test_a_flipped_byte_is_seen_in_every_file(copy):
    files = [path for path in (copy / "24").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {integrity.SUMS, "record.json"}
    assert {path.relative_to(copy / "24").parts[0] for path in files} >= {
        "state",
        "best",
        "history",
    }
    for path in files:
        content = path.read_bytes()
        for place in {0, len(content) // 2, len(content) - 1}:
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            fault = integrity.damage(copy / "24")
            assert fault, path
            # The name is said, but where the checksums themselves are damaged.
            assert path.relative_to(copy / "24").as_posix() in fault or path.name == integrity.SUMS
        path.write_bytes(content)
    assert integrity.damage(copy / "24") is None
    (copy / "24" / "more").touch()
    assert integrity.damage(copy / "24") == "more is not what was written"


def flip(folder):
    path = next(path for path in sorted((folder / "state").rglob("*")) if path.is_file())
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGES = {
    "a flipped byte": (flip, r"state/\S+ is not what was written"),
    "an empty folder": (empty, "SHA256SUMS is missing"),
    "no history": (lambda folder: shutil.rmtree(folder / "history"), r"history/\S+ is missing"),
    "no record": (lambda folder: (folder / "record.json").unlink(), "record.json is missing"),
}


@pytest.mark.parametrize("kind", first(2, DAMAGES))
def test_a_damaged_checkpoint_is_passed_over_in_one_line(kind, run, copy, capfd):
    hurt, words = DAMAGES[kind]
    hurt(copy / "24")
    line = rf"step 24 is damaged: {words}\. The checkpoint of step 20 is whole and is taken"
    with pytest.warns(UserWarning, match=line) as said:
        state, _ = training.restore(copy, START)
    assert int(state.step) == 20
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    with pytest.warns(UserWarning, match=line):
        same(BEST(SEGMENTS, directory=copy), run[1])
    assert names(copy) == ["20", "24"]
    same(training.restore(copy, START), run[1])  # it was written anew
    hurt(copy / "20")
    hurt(copy / "24")
    for call in (lambda: training.restore(copy, START), lambda: BEST(SEGMENTS, directory=copy)):
        with pytest.raises(ValueError, match=r"got no whole checkpoint .*24 is.*20 is.*; need one"):
            call()
    assert capfd.readouterr().err == ""


# Other runs


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="without a checkpoint"):
        training.restore(tmp_path, START)
    with pytest.raises(FileNotFoundError, match="without a checkpoint"):
        training.restore(tmp_path / "nowhere", START)
    assert not (tmp_path / "nowhere").exists()
    training.fit(STEP, START, SEGMENTS, 1, directory=tmp_path, progress=False)
    other = rnn.Stack((rnn.Embed(7, 3), rnn.LSTM(5), rnn.Dropout(0.2), rnn.Dense(7)))
    state = training.TrainState.create(
        other, other.init(jax.random.key(0), rnn.TOKEN), TX, jax.random.key(1), (2,)
    )
    with pytest.raises(ValueError, match=r"state.*float32\[2, 4\]; need float32\[2, 5\]"):
        training.restore(tmp_path, state)
    wide = START._replace(params=jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS))
    with pytest.raises(ValueError, match="need bfloat16"):
        training.restore(tmp_path, wide)


def test_a_run_from_another_state_or_with_other_settings_is_not_resumed(tmp_path):
    settings = {"rate": 3e-2, "layers": (1, 2)}

    def go(state=START, steps=4, settings=settings, **options):
        run = partial(training.fit, STEP, state, SEGMENTS, steps, directory=tmp_path)
        return run(settings=settings, progress=False, **options)

    state, _ = go()
    other = START._replace(key=jax.random.key(7))
    with pytest.raises(ValueError, match=r"got an initial state.key \[0, 7\]; need \[0, 1\]"):
        go(other, 8)
    params = NET.init(jax.random.key(5), rnn.TOKEN)
    other = training.TrainState.create(NET, params, TX, jax.random.key(1), (2,))
    with pytest.raises(ValueError, match=r"state.params\[0\]\['w'\] \[.*Give the same seed"):
        go(other, 8)
    with pytest.raises(ValueError, match=r"settings rate 0.01; need rate 0.03"):
        go(settings={"rate": 1e-2, "layers": [1, 2]})
    with pytest.raises(ValueError, match=r"layers missing; need layers \[1, 2\]"):
        go(settings={"rate": 3e-2})
    with pytest.raises(
        ValueError, match='settings best "loss", best_mode "min"; need best missing'
    ):
        go(evaluate=lambda state: {"loss": 0.0}, best="loss", best_mode="min")
    # A state of a later step is no beginning, and another machine rounds otherwise.
    rounded = jax.tree.map(lambda p: p * (1 + 1e-6), PARAMS)
    assert int(go(START._replace(params=rounded), 5)[0].step) == 5
    assert int(go(state, 6)[0].step) == 6


# Writers


def test_one_writer_and_any_number_of_readers(copy):
    with checkpoints.Checkpoints(copy, 2, {}):
        with pytest.raises(BlockingIOError, match=f"run: got .* process {os.getpid()} writes to"):
            BEST(SEGMENTS, directory=copy)
        assert int(training.restore(copy, START)[0].step) == 24
    assert int(BEST(SEGMENTS, directory=copy)[0].step) == 24


HOLDING = """
import os, pathlib, sys
from jaxrnn.training import integrity

with integrity.locked(pathlib.Path(sys.argv[1])):
    if os.fork():
        print("held", flush=True)
    sys.stdin.read()  # the child outlives its parent
"""


def test_the_lock_of_a_killed_process_is_free_whatever_children_it_left(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(pathlib.Path(rnn.__file__).parents[1])},
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=f"process {other.pid} writes"):
            FIT(SEGMENTS, 2, directory=tmp_path)
        other.send_signal(signal.SIGKILL)
        assert other.wait() == -signal.SIGKILL
        assert FIT(SEGMENTS, 2, directory=tmp_path)[1].finished
    finally:
        other.kill()
        other.stdin.close()
        other.stdout.close()
        other.wait()


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, monkeypatch, capfd):
    written = checkpoints.checksums

    def full(folder):
        if (tmp_path / "8").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        return written(folder)

    monkeypatch.setattr(checkpoints, "checksums", full)
    line = (
        r"got no checkpoint of step 16 written \(No space left on device\); need room and the "
        "right to write. The checkpoint of step 8 is whole: the same call goes on from there."
    )
    with pytest.raises(OSError, match=line):
        FIT(SEGMENTS, 24, directory=tmp_path)
    assert names(tmp_path) == ["8"]
    assert not (tmp_path / checkpoints.UNFINISHED).exists()
    monkeypatch.setattr(checkpoints, "checksums", written)
    same(FIT(SEGMENTS, 24, directory=tmp_path), FIT(SEGMENTS, 24))
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("limit", [200, 1500])
def test_a_limit_on_file_sizes_is_said_without_a_dump(limit, tmp_path):
    here = pathlib.Path(small_run.__file__)
    code = (
        "import resource, sys\n"
        "from helpers.small_run import FIT, SEGMENTS\n"
        "FIT(SEGMENTS, 8, directory=sys.argv[1])\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "FIT(SEGMENTS, 24, directory=sys.argv[1])\n"
    )
    path = os.pathsep.join([str(here.parents[2]), str(here.parents[1])])
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert ended.returncode == 1
    assert "step 16 written (File too large)" in ended.stderr.splitlines()[-1]
    assert len(ended.stderr.splitlines()) < 20
    assert int(training.restore(tmp_path, START)[0].step) == 8


def test_a_write_that_was_killed_is_cleared_away(tmp_path):
    FIT(SEGMENTS, 8, directory=tmp_path)
    shutil.copytree(tmp_path / "8", tmp_path / checkpoints.UNFINISHED)
    shutil.rmtree(tmp_path / checkpoints.UNFINISHED / "state")
    assert int(training.restore(tmp_path, START)[0].step) == 8
    FIT(SEGMENTS, 8, directory=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "8"]
