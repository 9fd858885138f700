"""Which loops are kernels, platform by platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jaxrnn.autodiff.kernels import gpu, tpu
from jaxrnn.autodiff.kernels.rows import Kernel

# How a platform makes a kernel of a loop: the plan, or the reason why there is none; the kernel.
KERNELS: dict[str, tuple[Callable, Callable]] = {
    "tpu": (tpu.plan, tpu.in_kernel),
    "cuda": (gpu.plan, gpu.in_kernel),
}


def planned(platform: str, count: int, params: dict[str, Any]) -> Any:
    """The plan of a loop's kernel for `count` rows on a platform, or why there is none."""
    names = ("jaxpr", "kernel", "num_consts", "num_carry", "length")
    return KERNELS[platform][0](*(params[name] for name in names), count)


def fused(run: Callable, platform: str, interpreted: bool = False) -> Callable:
    """A loop that is to be one kernel as that, if there is a plan for it; else by `run`.

    With `interpreted`, only where the kernel asks for Pallas's interpreter.
    """

    def lower(*args: Any, **params: Any) -> list:
        kernel: Kernel | None = params["kernel"]
        if kernel is None or kernel.rows is None:
            return run(*args, **params)
        if not (kernel.interpret if interpreted else card_known(platform)):
            return run(*args, **params)
        found = planned(platform, args[params["num_consts"]].shape[0], params)
        if isinstance(found, str):
            return run(*args, **params)
        return KERNELS[platform][1](*args, plan=found, **params)

    return lower


def card_known(platform: str) -> bool:
    """Whether the compilers of kernels know which card they compile for: one that is here, or one
    that a mesh names (`jax.sharding.use_abstract_mesh`).
    """
    if platform == "tpu":
        from jax.experimental.pallas import tpu

        try:
            return tpu.get_tpu_info() is not None
        except ValueError:
            return False
    named = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() == "gpu" or "NVIDIA" in getattr(named, "device_kind", "")
