"""The compilers for cards that are not here."""

from __future__ import annotations

import importlib.util
import os
import shlex
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

# Read when JAX is first imported. No card is looked for, and none is asked what it is.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    # libtpu locks a file against a second process on the same TPU. There is none here to share.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "true",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}

# What XLA wants to know of a card: the figures of an H100 SXM as NVIDIA gives them.
H100 = """gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84978434048 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536 }
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


class Target(NamedTuple):
    """A card: its platform, the package that brings its compiler, and the names of its topologies
    by the number of chips.
    """

    title: str
    platform: str
    module: str
    topologies: dict[int, str]
    options: dict[str, Any]


TARGETS = {
    # Without a card nothing can be timed, so products may be other kernels than on a real one.
    "h100": Target(
        "H100",
        "cuda",
        "jax_plugins.xla_cuda12",
        {n: f"1x1x{n}" for n in (1, 4, 8)},
        {"xla_gpu_autotune_level": 0},
    ),
    "v5e": Target("TPU v5e", "tpu", "libtpu", {1: "v5e:2x2", 4: "v5e:2x2", 8: "v5e:2x4"}, {}),
}


def packages(target: str) -> list[str]:
    """What pip installs to compile for a target: of jaxlib's version, or what JAX asks for."""
    if TARGETS[target].platform == "cuda":
        return [f"jax-cuda12-plugin=={metadata.version('jaxlib')}", "nvidia-cuda-nvcc-cu12"]
    needs = metadata.requires("jax") or []
    return [next((n.split(";")[0].strip() for n in needs if n.startswith("libtpu")), "libtpu")]


def missing(target: str) -> str | None:
    """The command that installs a target's compiler, or None where it is there."""
    try:
        found = importlib.util.find_spec(TARGETS[target].module)
    except ModuleNotFoundError:
        found = None
    plugin = TARGETS[target].platform == "cuda" and "jax-cuda12-plugin"
    if found and not (plugin and metadata.version(plugin) != metadata.version("jaxlib")):
        return None
    return f"pip install {' '.join(shlex.quote(name) for name in packages(target))}"


def devices(target: str, chips: int = 1) -> list[Any]:
    """Devices that compile and do not run."""
    from jax.experimental import topologies

    card = TARGETS[target]
    config = {"topology": card.topologies[chips], "target_config": H100}
    if card.platform == "cuda":
        importlib.import_module(card.module)  # it registers the platform
    made = topologies.get_topology_desc(
        platform=card.platform,
        topology_name=card.topologies[chips],
        **(config if card.platform == "cuda" else {}),
    )
    return list(made.devices)[:chips]


def lower_for(target: str, f: Callable, *args: Any, chips: int = 1, split: Any = None) -> Any:
    """`f`, lowered for a target as `compile_for` compiles it: a `jax.stages.Lowered`."""
    import jax
    import numpy as np

    mesh = jax.sharding.Mesh(np.array(devices(target, chips)), ("chips",))
    axes = (None,) * len(args) if split is None else split

    def spec(a: Any, axis: int | None) -> Any:
        parts = () if axis is None else (None,) * axis + ("chips",)
        place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*parts))
        return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place)

    specs = [
        jax.tree.map(lambda a, axis=axis: spec(a, axis), arg)
        for arg, axis in zip(args, axes, strict=True)
    ]
    # A kernel's compiler asks the mesh for the card, and where there is none this machine.
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return jax.jit(f).lower(*specs)


def compile_for(target: str, f: Callable, *args: Any, chips: int = 1, split: Any = None) -> Any:
    """`f`, compiled for arguments like `args` (pytrees of arrays or of `jax.ShapeDtypeStruct`).

    Args:
      target: a key of `TARGETS`.
      f: a function of arrays.
      args: what it is called with; only shapes and dtypes count.
      chips: how many chips run it.
      split: a tuple like args, of the axis along which each argument's arrays are split over the
        chips, or None for a copy on each. By default all are copied.

    Returns:
      A `jax.stages.Compiled`.
    """
    lowered = lower_for(target, f, *args, chips=chips, split=split)
    return lowered.compile(compiler_options=TARGETS[target].options or None)


def prepare() -> None:
    """Set the environment; call it before JAX is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
