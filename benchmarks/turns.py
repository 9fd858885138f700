"""Libraries measured by turns, each in a process of its own, the others stopped: a thread that
spins while it waits slows what is measured."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

from tqdm import tqdm

from benchmarks.cases import WORK, Case
from benchmarks.peers import works

# The heap kept between calls: without it glibc gives every large block back, and the kernel zeroes
# its pages again.
HEAP = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(2**28),
}


CPU = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
# The libraries share a GPU's memory.
GPU = {
    "JAX_PLATFORMS": "cuda",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
TPU = {"JAX_PLATFORMS": "tpu"}
# Products on a GPU or a TPU, for every library.
FLOAT32 = {
    "JAX_DEFAULT_MATMUL_PRECISION": "float32",
    "NVIDIA_TF32_OVERRIDE": "0",
}


def found(environment: dict[str, str]) -> tuple[str, str]:
    """What JAX runs on in such an environment: "cpu", "gpu" or "tpu" and the device's name; or ""
    and why it finds none."""
    code = "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind, sep='\\n')"
    asked = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True
    )
    lines = (
        asked.stdout.split("\n")
        if asked.returncode == 0
        else ["", (asked.stderr.strip().splitlines() or ["it does not say why"])[-1]]
    )
    return lines[0], lines[1]


def devices(count: int) -> dict[str, str]:
    """The environment in which a CPU is so many devices."""
    flags = [os.environ.get("XLA_FLAGS", ""), f"--xla_force_host_platform_device_count={count}"]
    return {"XLA_FLAGS": " ".join(flags).strip()} if count > 1 else {}


class Worker:
    def __init__(self, peer: str, folder: pathlib.Path, environment: dict[str, str]):
        self.log = open(folder / f"{peer}.log", "w")  # noqa: SIM115  closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | environment,
            cwd=pathlib.Path(__file__).parents[1],
        )
        self.stop()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def ask(self, told: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps(told) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            last = (
                pathlib.Path(self.log.name).read_text().strip().splitlines() or ["it says nothing"]
            )[-1]
            return {"refused": f"its process ended: {last}"}
        self.stop()
        return json.loads(line)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@contextmanager
def workers(peers: tuple[str, ...], environment: dict[str, str]) -> Iterator[dict[str, Worker]]:
    """A process for each library, and that of the reference, which is the textbook's. A TPU is one
    process's at a time: there the reference has a process of its own, on the CPU."""
    alone = environment.get("JAX_PLATFORMS") == "tpu"
    with tempfile.TemporaryDirectory() as folder:
        made = {
            peer: Worker(peer, pathlib.Path(folder), environment)
            for peer in (peers if alone else dict.fromkeys(("plain", *peers)))
        }
        made["reference"] = Worker("plain", pathlib.Path(folder), CPU) if alone else made["plain"]
        try:
            yield made
        finally:
            for worker in set(made.values()):
                worker.end()


def beside(case: Case, peers: tuple[str, ...]) -> list[str]:
    """Those of the peers that do such work."""
    return [peer for peer in peers if case.work in works(peer)]


def measure(
    cases: list[Case],
    peers: tuple[str, ...],
    environment: dict[str, str],
    seconds: float,
    bar: tqdm,
) -> Iterator[dict[str, Any]]:
    """A record for each case and library; `seconds` is about what each is measured for, compile
    time apart. By turns, or on a TPU, which no two processes share, one library after the other."""
    alone = environment.get("JAX_PLATFORMS") == "tpu"
    for group in [(peer,) for peer in peers] if alone else [peers]:
        with workers(group, environment) as pool:
            for case in cases:
                bar.set_postfix_str(case.name)
                yield from measured(case, group, pool, seconds, bar)


def measured(
    case: Case, peers: tuple[str, ...], pool: dict[str, Worker], seconds: float, bar: tqdm
) -> Iterator[dict[str, Any]]:
    """The record of each library of one case."""
    present = beside(case, peers)
    if not present:
        return
    if "refused" in (failed := pool["reference"].ask({"refer": case._asdict()})):
        raise RuntimeError(
            f"{case.name}: the reference failed: {failed.get('trace', failed['refused'])}"
        )
    records = {}
    for peer in present:
        records[peer] = {
            "case": case._asdict(),
            "name": case.name,
            "peer": peer,
            "flops": case.flops(),
        } | pool[peer].ask({"build": case._asdict()})
    rate = pool["plain" if "plain" in pool else present[0]].ask({"matmul": 1024}).get("flops")
    able = [peer for peer in present if "refused" not in records[peer]]
    once = {}
    for peer in able:
        tried = {name: pool[peer].ask({"run": name, "times": 2}) for name in WORK[case.work]}
        if failed := [one for one in tried.values() if "refused" in one]:
            records[peer] |= failed[0]
        else:
            once |= {(peer, name): min(one["seconds"]) for name, one in tried.items()}
    found: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in once}
    rounds = 5
    for _ in range(rounds):
        for (peer, name), took in once.items():
            times = min(max(round(seconds / 2 / rounds / took), 1), 200)
            found[peer, name].append(pool[peer].ask({"run": name, "times": times}))
    for (peer, name), parts in found.items():
        records[peer][name] = summary(parts)
    for peer in present:
        pool[peer].ask({"drop": True})
        yield records[peer] | {"matmul": rate}
        bar.update()


def summary(parts: list[dict[str, Any]]) -> dict[str, float]:
    """The median over rounds of each round's median, and the spread of these."""
    each = sorted(statistics.median(part["seconds"]) for part in parts)
    return {
        "median": statistics.median(each),
        "least": each[0],
        "most": each[-1],
        "runs": sum(len(part["seconds"]) for part in parts),
        "cpu": statistics.median(part["cpu"] for part in parts),
        "faults": statistics.median(part["faults"] for part in parts),
    }


def machine(device: str | None = None) -> dict[str, Any]:
    """What the numbers depend on; `jax` and `jaxlib` are the ones installed here, the device a CPU
    if none is named."""

    def version(name: str) -> str | None:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    described = pathlib.Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    cpu = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
    libraries = ("jax", "jaxlib", "numpy", "torch", "flax", "dm-haiku", "equinox", "keras")
    return {
        "device": device or cpu,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "versions": {name: version(name) for name in libraries},
        "date": time.strftime("%Y-%m-%d"),
    }
