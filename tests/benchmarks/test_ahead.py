"""What is read off a compiled program, on one that this machine compiles."""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from benchmarks.ahead import __main__ as ahead
from benchmarks.ahead import compilers, program, table
from benchmarks.ahead.__main__ import RESULTS, TRAINED
from benchmarks.cases import Case

NUMBERS = pathlib.Path(__file__).parents[2] / "docs" / "numbers.md"


def test_loops_are_found_with_how_often_they_run():
    def nested(x):
        def row(x, _):
            return jax.lax.scan(lambda x, _: (jnp.sin(x) @ x, None), x, None, 5)[0], None

        return jax.lax.scan(row, x, None, 7)[0]

    text = jax.jit(nested).lower(jnp.ones((8, 8))).compile().as_text()
    loops, outside = program.loops(text)
    assert sorted(loop.trips for loop in loops) == [7, 35]
    assert all(loop.launches.total() for loop in loops if loop.trips == 35)
    assert not set(outside) & program.FREE


def test_exchanges_are_counted_once():
    from collections import Counter

    launched = Counter({"all-reduce-start": 2, "all-reduce-done": 2, "fusion": 9})
    assert program.exchanges(launched) == {"all-reduce": 2}


TEXT = """HloModule jit_f

%dot_fused (p: f32[8,8]) -> f32[8,8] {
  ROOT %d = f32[8,8]{1,0} dot(%p, %p), lhs_contracting_dims={1}
}

%row (p: f32[9,8], i: s32[]) -> f32[1,8] {
  %j = s32[] add(%i, %i)
  ROOT %r = f32[1,8]{1,0} dynamic-slice(%p, %j, %i), dynamic_slice_sizes={1,8}
}

%sums (p: f32[8,8]) -> f32[8] {
  %t = f32[8,8]{1,0} tanh(%p)
  ROOT %s = f32[8]{0} reduce(%t, %z), dimensions={0}, to_apply=%add
}

%waves (p: f32[8]) -> f32[8] {
  ROOT %t = f32[8]{0} tanh(%p)
}

%next (i: s32[]) -> s32[] {
  ROOT %j = s32[] add(%i, %i)
}

%graph (p: f32[8]) -> f32[8] {
  %a = f32[8]{0} fusion(%p), kind=kLoop, calls=%waves
  ROOT %b = f32[8]{0} fusion(%a), kind=kLoop, calls=%waves
}

%less (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  ROOT %r = (s32[], f32[8]) tuple(%i, %x)
}

%step (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  %i = s32[] get-tuple-element(%arg), index=0
  %c = pred[] compare(%i, %i), direction=EQ
  %f = f32[8,8]{1,0} fusion(%x), kind=kCustom, calls=%dot_fused
  %g = f32[1,8]{1,0} fusion(%x, %i), kind=kLoop, calls=%row
  %h = f32[8]{0} fusion(%f), kind=kInput, calls=%sums
  %k = f32[8]{0} fusion(%h), kind=kLoop, calls=%waves
  %n = s32[] fusion(%i), kind=kLoop, calls=%next
  %l = f32[8]{0} call(%k), to_apply=%graph
  %m = (s32[], f32[8]) conditional(%i, %t, %t), branch_computations={%less, %graph}
  %e = f32[8]{0} all-reduce-start(%l), channel_id=1, to_apply=%add
  %o = f32[8]{0} custom-call(%l), custom_call_target="__cublas$gemm"
  %q = f32[8]{0} custom-call(%l), custom_call_target="tpu_custom_call"
  %u = f32[8]{0} custom-call(), custom_call_target="AllocateBuffer"
  ROOT %r = (s32[], f32[8]) tuple(%n, %l)
}

%more (arg: (s32[], f32[8])) -> pred[] {
  %n = s32[] constant(37)
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %w = (s32[], f32[8]) while(%t), condition=%more, body=%step
  ROOT %y = f32[8]{0} get-tuple-element(%w), index=1
}
"""


def test_launches_are_told_apart_by_what_they_are_for():
    (loop,), outside = program.loops(TEXT)
    assert (loop.trips, loop.outer, loop.body) == (37, 1, "step")
    assert not outside
    assert loop.launches == {
        **{"product": 2, "copies": 1, "reduction": 1, "pointwise": 5, "counter": 1},
        **{"all-reduce-start": 1, "kernel": 1},
    }


def test_bytes_and_flops_are_counted_as_often_as_a_loop_runs():
    def nested(x):
        def row(x, _):
            return jax.lax.scan(lambda x, _: (jnp.sin(x) @ x, None), x, None, 5)[0], None

        return jax.lax.scan(row, x @ x, None, 7)[0]

    text = jax.jit(nested).lower(jnp.ones((64, 64))).compile().as_text()
    found = program.cost(text, program.loops(text)[0])
    products = (1 + 5 * 7) * 2 * 64**3
    assert products <= found["flops"] < 1.1 * products
    assert found["bytes"] > 35 * 3 * 4 * 64**2


def record(peer="jaxrnn", **more):
    case = Case("lstm", 2, 3, 4, 5)
    return {
        **{"target": "h100", "peer": peer, "chips": 1, "case": case._asdict()},
        **{"launches a step": 6.0, "by kind": {"pointwise": 4.5, "product": 1.5}},
        **{"outside": {"product": 3}, "temporaries": 10**6, "bytes": 3e6, "flops": 2e9},
        **{"exchanges": {}, "exchanges in loops": {}, "compile seconds": 1.0},
    } | more


def test_the_tables_say_what_was_compiled_and_that_nothing_was_run(tmp_path):
    trained = {"case": TRAINED._asdict(), "chips": 4, "exchanges": {"all-reduce": 1}}
    records = [
        record(),
        record("nnx", **{"launches a step": 30.0}),
        record("haiku", refused="it has no such layer"),
        record("keras", refused="its compiler ended"),
        record(**trained, **{"exchanges in loops": {"all-gather": 2}}),
        record(target="v5e", temporaries=0),
        record("nnx", target="v5e", temporaries=0, bytes=None),
    ]
    page = table.page(records, {"jax": "0.10.2", "libtpu": None})
    assert page.startswith("Compiled by the cards' own compilers, not run.")
    assert "jax 0.10.2\n" in page
    assert "| launches a step (and once) | jaxrnn | nnx | haiku | keras |" in page
    assert "| lstm 2,3,4,5 | 6.0 (+3) | 30.0 (+3) | - | - |" in page
    assert "| layers, theirs / ours | **1.00** | **5.00** | **-** | **-** |" in page
    assert "| lstm 2,3,4,5 | jaxrnn | 4.5 pointwise, 1.5 product |" in page
    assert f"| {Case(**trained['case']).name} | 4 | jaxrnn | 1 all-reduce, 2 all-gather in" in page
    assert "Not compiled:\n\n- lstm 2,3,4,5, keras, chips 1: its compiler ended\n" in page
    short = table.short(records).splitlines()
    assert short[0] == "| compiled, not run | jaxrnn | flax nnx | haiku | keras |"
    assert "| H100: launches a step, theirs / ours | 1.00 | 5.00 | - | - |" in short
    assert "| TPU v5e: temporaries, theirs / ours | - | - |" in "\n".join(short)
    docs = "Before.\n\n| compiled, not run | old |\n|---|---|\n| a | 1 |\n\nAfter.\n"
    assert table.put(docs, "| new |") == "Before.\n\n| new |\n\nAfter.\n"
    table.draw(tmp_path / "a.png", records)
    assert 0 < (tmp_path / "a.png").stat().st_size < 200_000


def test_the_record_is_what_the_pages_show():
    kept = json.loads((RESULTS / "ahead.json").read_text())
    assert (RESULTS / "ahead.md").read_text() == table.page(kept["records"], kept["facts"])
    assert f"\n\n{table.short(kept['records'])}\n\n" in NUMBERS.read_text()
    assert (RESULTS / "ahead.png").stat().st_size < 200_000
    jobs = ahead.planned(compilers.TARGETS, ahead.EVERY, ahead.ALL, None)
    assert [{key: r[key] for key in jobs[0]} for r in kept["records"]] == jobs
    failed = [r for r in kept["records"] if not r.get("refused", "it has").startswith("it has")]
    assert not failed


def test_the_libraries_of_a_case_fit_a_card_together():
    """Each keeps the most it had, for the benchmark's processes take memory and give none back."""
    kept = json.loads((RESULTS / "ahead.json").read_text())["records"]
    for target, memory in (("h100", 80e9), ("v5e", 16e9)):
        most = {}
        for r in kept:
            if r["target"] == target and "refused" not in r:
                case = Case(**r["case"])
                inputs = 4 * case.steps * case.batch * max(case.features, case.hidden)
                most[r["peer"]] = max(most.get(r["peer"], 0), r["temporaries"] + 2 * inputs)
        together = max(most.values()) if target == "v5e" else sum(most.values())
        assert together < 0.9 * memory, (target, most)


def test_another_process_goes_on_where_one_ends(monkeypatch):
    """A compiler that gives up takes its process with it."""
    code = """
import json, sys
for line in sys.stdin:
    job = json.loads(line)
    if job["peer"] == "bad":
        sys.exit(1)
    print(json.dumps({"ok": job["peer"]}), flush=True)
"""
    pipe = subprocess.PIPE
    monkeypatch.setattr(
        ahead,
        "begun",
        lambda: subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True),
    )
    peers = ["a", "bad", "b", "bad", "c"]
    jobs = [{"target": t, "peer": p} for t in compilers.TARGETS for p in peers]
    found = dict(ahead.side_by_side(jobs))
    assert sorted(found) == list(range(10))
    for k, job in enumerate(jobs):
        want = {"refused": "its compiler ended"} if job["peer"] == "bad" else {"ok": job["peer"]}
        assert found[k] == job | want


@pytest.mark.parametrize("target", compilers.TARGETS)
def test_a_missing_compiler_is_named(monkeypatch, capsys, target):
    monkeypatch.setattr(compilers.importlib.util, "find_spec", lambda name: None)
    assert compilers.missing(target).startswith("pip install")
    monkeypatch.setattr(sys, "argv", ["ahead", "--quick", "--target", target])
    with pytest.raises(SystemExit):
        ahead.main()
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"the compiler for {target} is not installed" in message
    assert message.endswith(f"Run: {compilers.missing(target)}")
