"""What every experiment's command line does, on an experiment of a few lines."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from jaxrnn.training.integrity import locked
from support import experiments
from support.experiments.runs import clocked


def made(calls, fail=None):
    def one(seed, folder):
        calls.append(seed)
        if callable(fail):
            fail()
        if fail == seed:
            raise experiments.Interrupted
        return {"accuracy": np.float32(0.5 + 0.1 * seed), "curve": np.arange(3)}

    def work(args):
        runs = experiments.seeds(args, one, rows=7)
        table = experiments.Table("accuracy", {"ours": "accuracy"}, {"published": 0.954})
        with experiments.figure(args.out / "p.png") as axes:
            axes.plot([0, 1], [1, 0])
        experiments.report(
            args,
            runs,
            [table],
            shape="many to one",
            data="none",
            shows="nothing",
            picture=args.out / "p.png",
            notes=["a note"],
        )

    def main(argv):
        parser = experiments.parser("toy", "doc", steps=5, seeds=3, batch=2, lr=0.1)
        parser.add_argument("--hidden", type=experiments.positive, default=4)
        experiments.run(parser, work, argv)

    return main


def test_lists_of_results_count_alike():
    (row, other) = experiments.Table("t", {"ours": "k"}, {"theirs": 0.5}).rows(
        [{"k": [0.1, 0.3]}, {"k": 0.5}]
    )
    assert (row["values"], row["text"], other["text"]) == ([0.1, 0.3, 0.5], "30.0 ± 20.0", "50.0")


def test_seeds_that_are_done_are_not_run_again_and_others_go_on(tmp_path, capsys):
    out, calls = ["--out", str(tmp_path / "out")], []
    with pytest.raises(SystemExit, match="130"):
        made(calls, fail=1)(out)
    assert "goes on from here" in capsys.readouterr().err
    assert calls == [0, 1]
    made(calls)([*out, "--keep", str(tmp_path / "kept" / "toy"), "--hidden", "4"])
    assert calls == [0, 1, 1, 2]
    shown = capsys.readouterr().out
    assert "ours       60.0 ± 10.0" in shown
    assert "published  95.4" in shown
    assert "a note" in shown
    record = json.loads((tmp_path / "kept" / "toy.json").read_text())
    assert record["command"] == "python examples/toy.py --hidden 4"
    assert record["tables"][0]["rows"][0]["values"] == pytest.approx([0.5, 0.6, 0.7])
    assert [run["seed"] for run in record["runs"]] == [0, 1, 2]
    assert record["runs"][0]["curve"] == [0, 1, 2]
    assert record["settings"] == {"steps": 5, "batch": 2, "lr": 0.1, "hidden": 4, "rows": 7}
    assert (tmp_path / "kept" / "toy.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in json.dumps(record)
    made(calls)([*out, "--seeds", "4"])  # more of the same
    assert calls[-1] == 3


def test_other_settings_are_refused(tmp_path):
    made([])(["--out", str(tmp_path)])
    with pytest.raises(
        SystemExit,
        match=r"toy: .* got settings --hidden 5; need --hidden 4, as the run there has them\. "
        "Give the same again, or another --out",
    ):
        made([])(["--out", str(tmp_path), "--hidden", "5"])


@pytest.mark.parametrize("name", ["settings.json", "seed0/result.json", "seed1/clock.json"])
def test_a_damaged_file_is_named(name, tmp_path):
    with pytest.raises(SystemExit, match="130"):
        made([], fail=1)(["--out", str(tmp_path)])
    (tmp_path / name).write_text('{"half": ')
    with pytest.raises(SystemExit, match=rf"toy: .*{name}: got a damaged file; need the JSON"):
        made([])(["--out", str(tmp_path)])


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(path, text, encoding):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(SystemExit, match=r"toy: .*No space left on device.*settings.json"):
        made([])(["--out", str(tmp_path)])


def test_one_process_at_a_time_is_at_work_on_a_seed(tmp_path):
    (tmp_path / "seed1").mkdir()
    with locked(tmp_path / "seed1"), pytest.raises(SystemExit, match="need one writer at a time"):
        made([])(["--out", str(tmp_path)])
    assert (tmp_path / "seed0" / "result.json").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_in_one_line_with_their_status(
    number, status, tmp_path, capsys, usual_signals
):
    with pytest.raises(SystemExit) as stop:
        made([], fail=lambda: signal.raise_signal(number))(["--out", str(tmp_path)])
    assert stop.value.code == status
    said = "seed 0, 1 of 3\nthe same command goes on from here\n"
    assert capsys.readouterr().err == said


KILLED = """
import os, pathlib, signal, sys, time
from support.experiments.runs import clocked, read_json

clock = pathlib.Path(sys.argv[1])
with clocked(clock, every=0.01):
    while not clock.exists() or read_json(clock)[0] < 0.2:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_time_before_a_kill_counts(tmp_path):
    root, clock = pathlib.Path(experiments.__file__).parents[3], tmp_path / "clock.json"
    path = os.pathsep.join([str(root), str(root / "examples")])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(clock)],
        env=os.environ | {"PYTHONPATH": path},
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL
    with clocked(clock) as spent:
        seconds, cpu = spent()
    assert seconds >= 0.2
    assert cpu >= 0.0
    assert json.loads(clock.read_text())[0] >= 0.2


def test_bad_options_and_missing_packages(tmp_path, capsys, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        made([])(["--steps", "0"])
    assert stop.value.code == 2
    assert "--steps: must be at least 1" in capsys.readouterr().err
    with pytest.raises(
        ModuleNotFoundError,
        match=r'no_such_package is not installed.*pip install -e "\.\[speaker\]"',
    ):
        experiments.package("no_such_package", "speaker")
    assert experiments.package("numpy", "x").is_dir()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="matplotlib is not installed"):
        made([])(["--out", str(tmp_path)])


def test_a_picture_stays_small(tmp_path):
    path = pathlib.Path(tmp_path / "noise.png")
    with experiments.figure(path, 1, 2, limit=120_000) as axes:
        for one in axes:
            one.imshow(np.random.default_rng(0).random((200, 200)))
    assert path.stat().st_size <= 120_000
    with experiments.figure(tmp_path / "large.png", limit=10**9) as axes:
        axes.imshow(np.random.default_rng(0).random((200, 200)))
    assert (tmp_path / "large.png").stat().st_size > 120_000
