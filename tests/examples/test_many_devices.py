"""The example of many devices: a CPU that plays eight of them, in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from helpers.running import EXAMPLES, example

many_devices = example("many_devices")


@pytest.mark.slow
def test_it_runs(tmp_path):
    size = "--steps 4 --hidden 8 --batch 8 --segment 4 --bytes 5000 --virtual 8 --layouts 1x1 4x2"
    call = [sys.executable, EXAMPLES / "many_devices.py", "--out", tmp_path, *size.split()]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(EXAMPLES.parent)}
    made = subprocess.run(call, env=env, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert "4x2, 1 process(es): 2 of 8 rows a device" in made.stdout
    assert "(8, 16)       a device  P(None, 'model')" in made.stdout
    found = json.loads((tmp_path / "results.json").read_text())["runs"][0]
    assert found["apart 4x2"] < 1e-5
    assert found["megabytes 4x2"] == found["megabytes 1x1"] / 2
    assert (tmp_path / "many_devices.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("layouts", ["4by2", "0x1", "99x99"])
def test_a_wrong_layout_is_said(layouts, tmp_path):
    with pytest.raises(SystemExit, match=rf"many_devices: --layouts {layouts}: "):
        many_devices.main(["--out", str(tmp_path), "--layouts", layouts])
