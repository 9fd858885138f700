"""Which loops are kernels, platform by platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxrnn.autodiff import in_kernel as tpu
from jaxrnn.autodiff import in_kernel_gpu as gpu
from jaxrnn.autodiff.rows import Kernel

# How a platform makes a kernel of a loop: the plan, or the reason why there is none; the kernel.
KERNELS: dict[str, tuple[Callable, Callable]] = {
    "tpu": (tpu.plan, tpu.in_kernel),
    "cuda": (gpu.plan_gpu, gpu.in_kernel_gpu),
}


def planned(platform: str, count: int, params: dict[str, Any]) -> Any:
    """The plan of a loop's kernel for `count` rows on a platform, or why there is none."""
    names = ("jaxpr", "kernel", "num_consts", "num_carry", "length")
    return KERNELS[platform][0](*(params[name] for name in names), count)


def fused(run: Callable, platform: str, ready: Callable[[Kernel], bool]) -> Callable:
    """A loop that is to be one kernel as that, if there is a plan for it; else by `run`."""

    def lower(*args: Any, **params: Any) -> list:
        kernel: Kernel | None = params["kernel"]
        if kernel is not None and kernel.rows and ready(kernel):
            found = planned(platform, args[params["num_consts"]].shape[0], params)
            if not isinstance(found, str):
                return KERNELS[platform][1](*args, plan=found, **params)
        return run(*args, **params)

    return lower


def card_known() -> bool:
    """Whether the compiler of kernels knows which TPU it compiles for. A machine without one does
    if a mesh says so: `jax.sharding.use_abstract_mesh`.
    """
    from jax.experimental.pallas import tpu

    try:
        tpu.get_tpu_info()
    except ValueError:
        return False
    return True
