"""Loops as another platform runs them."""

import jax
import pytest

from jaxrnn.autodiff._jax import lowered
from jaxrnn.autodiff.loop import DEFAULT, PLATFORMS, loop_p


@pytest.fixture
def running():
    """A function that makes this CPU run loops as one platform does."""

    def run(f):
        jax.clear_caches()
        lowered(loop_p, DEFAULT, PLATFORMS | {"cpu": f})

    yield run
    run(PLATFORMS["cpu"])
