"""On eight virtual devices: the numbers of one, an eighth of its work, and only gradients summed.

The checks are in `helpers/devices`, run as a program: JAX counts its devices as it starts.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from helpers.programs import collectives, trips

TESTS = pathlib.Path(__file__).parents[1]
FLAG = "--xla_force_host_platform_device_count=8"


def found_wrong(group, *options):
    """What the checks of a group found wrong, by name."""
    env = dict(
        os.environ, JAX_PLATFORMS="cpu", XLA_FLAGS=f"{os.environ.get('XLA_FLAGS', '')} {FLAG}"
    )
    env["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS.parent), env.get("PYTHONPATH", "")])
    if group == "counted":  # what is counted is the program as users have it
        env.pop("JAX_DISABLE_MOST_OPTIMIZATIONS", None)
    made = subprocess.run(
        [sys.executable, "-m", "helpers.devices", group, *options],
        env=env,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    found = json.loads(made.stdout.splitlines()[-1])
    assert found, f"no checks in {group}"
    return {name: wrong for name, wrong in found.items() if wrong}


def listed(wrong):
    return "\n" + "\n".join(f"  {name}: {what}" for name, what in wrong.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    "group", ["counted", "explicit", "jit", "model", "shard_map", "time", "training"]
)
def test_eight_devices(group):
    """`python -m helpers.devices GROUP whole`, with `tests` on the path, runs a group over every
    cell."""
    wrong = found_wrong(group)
    assert not wrong, listed(wrong)


TEXT = """HloModule jit_f, entry_computation_layout={(f32[37,8]{1,0})->f32[8]{0}}

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %s = f32[] add(%x, %y)
}

%inner (p: f32[8]) -> f32[8] {
  ROOT %g = f32[64]{0} all-gather(%p), channel_id=1, dimensions={0}
}

%step (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  %call = f32[8]{0} fusion(%a), kind=kLoop, calls=%inner
  %r = (f32[3,4]{1,0}, bf16[5]{0}) all-reduce(%b, %c), channel_id=2, to_apply=%add
}

%more (arg: (s32[], f32[8])) -> pred[] {
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

ENTRY %main.1_spmd (x: f32[37,8]) -> f32[8] {
  %w = s32[] while(%t), condition=%more, body=%step, backend_config={"known_trip_count":{"n":"37"}}
  %s = f32[74,8]{1,0} all-reduce-start(%x), channel_id=3, to_apply=%add
  ROOT %all-gather-like = f32[8]{0} get-tuple-element(%w), index=1
}
"""


def test_programs_are_read_right():
    gather, both, late = sorted(
        collectives(TEXT), key=lambda c: c.computation != "inner" and 1 + (c.computation != "step")
    )
    assert (gather.kind, gather.arrays, gather.loop) == ("all-gather", (("f32", (64,)),), True)
    assert (both.kind, both.bytes, both.loop) == ("all-reduce", 4 * 12 + 2 * 5, True)
    assert (late.computation, late.kind, late.loop) == ("main.1_spmd", "all-reduce", False)
    assert late.spans(37)
    assert not gather.spans(37)
    assert trips(TEXT) == [37]
