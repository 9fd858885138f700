"""What is read off a compiled program, on one that this machine compiles."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.ahead import compilers, program, table
from benchmarks.cases import Case


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


def test_the_table_says_that_nothing_was_run(tmp_path):
    made = {
        **{"target": "h100", "peer": "jaxrnn", "chips": 1, "launches a step": 6.0},
        **{"case": Case("lstm", 2, 3, 4, 5)._asdict(), "outside": {"fusion": 3}},
        **{"temporaries": 10**6, "exchanges": {}, "exchanges in loops": {"all-reduce": 1}},
        "compile seconds": 1.0,
    }
    refused = {k: made[k] for k in ("target", "chips", "case")} | {"peer": "nnx", "refused": "no"}
    page = table.page([made, refused])
    assert "compiled, not run" in page
    assert "| lstm 2,3,4,5 | jaxrnn | 6.0 | 3 | 1.0 | 1 all-reduce in a loop | 1.0 |" in page
    assert "| lstm 2,3,4,5 | nnx | no |" in page
    table.draw(tmp_path / "a.png", [made, refused])
    assert (tmp_path / "a.png").stat().st_size


@pytest.mark.parametrize("target", compilers.TARGETS)
def test_a_missing_compiler_is_named(monkeypatch, target):
    monkeypatch.setattr(compilers.importlib.util, "find_spec", lambda name: None)
    assert compilers.missing(target).startswith("pip install")
