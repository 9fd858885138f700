"""Two processes, each with half of the batch: the losses of one; what is killed goes on.

The program is `helpers/two_processes.py`.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

TESTS = pathlib.Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as held:
        held.bind(("localhost", 0))
        return held.getsockname()[1]


def run(directory, count=2, *stop):
    """Each process's exit status, what it printed, and what it said."""
    env = dict(os.environ, JAX_PLATFORMS="cpu", XLA_FLAGS="")
    env["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    port = str(free_port())
    started = [
        subprocess.Popen(
            [
                *[sys.executable, "-m", "helpers.two_processes", str(directory), port],
                *[str(count), str(process), *map(str, stop)],
            ],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(count)
    ]
    try:
        said = [process.communicate(timeout=240) for process in started]
    finally:
        for process in started:
            process.kill()
    return [
        (process.returncode, json.loads(out.splitlines()[-1]) if process.returncode == 0 else None)
        for process, (out, _) in zip(started, said, strict=True)
    ], [err for _, err in said]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    (first, second), said = run(tmp_path_factory.mktemp("whole"))
    assert first[0] == second[0] == 0, said
    return first[1], second[1], said


def test_two_processes_have_the_losses_of_one(whole, tmp_path):
    first, second, said = whole
    assert first == second
    [(status, alone)], _ = run(tmp_path, 1)
    assert status == 0
    for got, want in ((first[0], alone[0]), *zip(first[1], alone[1], strict=True)):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)
    assert first[2][0] == alone[2][0], "another step is best"
    assert (set(first[3]), set(alone[3])) == ({2}, {4}), "rows of the carry on a device"
    assert "step 12/12" in said[0]
    assert "step " not in said[1], "a process shows progress beside the first one"


def names(directory):
    return sorted((p.name for p in directory.iterdir() if p.name.isdecimal()), key=int)


def test_a_killed_process_loses_nothing(whole, tmp_path):
    """The one that holds the lock is killed in step 7, its fellow ends, and both start again."""
    (killed, other), _ = run(tmp_path, 2, "0", 7, "SIGKILL")
    assert killed[0] == -9
    assert other[0] not in (0, None)
    assert names(tmp_path) == ["3", "6"]
    (first, second), said = run(tmp_path)
    assert "going on from step 6 of 12" in said[0]
    assert first[1] == second[1] == whole[0]  # bit for bit


def test_a_signal_to_one_process_ends_both_after_the_same_step(whole, tmp_path):
    (first, second), said = run(tmp_path, 2, "1", 7, "SIGTERM")
    assert (first[0], second[0]) == (0, 143), said
    assert first[1][4:] == [8, False]  # the step, and whether all are done
    assert names(tmp_path) == ["6", "8"]
    assert first[1][0] == whole[0][0][:8]
