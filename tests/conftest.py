"""Strict promotion of dtypes in every test; hypothesis the same on every machine."""

import gc
import os
import pathlib
import signal
import sys

# Compiling is what tests spend their time on. Read when jax is imported,
# and by the processes that tests start.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("KERAS_BACKEND", "jax")  # read when keras is imported

# What the examples share; last, for an example bears the name of a package that it uses.
sys.path.append(str(pathlib.Path(__file__).parents[1] / "examples"))

import hypothesis
import jax
import pytest

# Tracing makes millions of small objects, few of them in cycles.
gc.set_threshold(20_000, 10, 20)
jax.config.update("jax_numpy_dtype_promotion", "strict")

hypothesis.settings.register_profile(
    "quick",
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile(
    "long", max_examples=200, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def x64():
    """Doubles within a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def optimised():
    """All of the compiler's passes within a test that computes for longer than it compiles."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def usual_signals():
    """The handlers of a fresh process, whatever runs the tests (a shell ignores Ctrl-C for what is
    in the background); a test leaves them as they are."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    left = {number: signal.signal(number, handler) for number, handler in before.items()}
    assert left == usual
