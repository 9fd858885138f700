"""One language model on one device, on many, and on many machines: the same losses.

    python examples/many_devices.py                              every device there is
    python examples/many_devices.py --virtual 8 --layouts 1x1 8x1 4x2
                                                                 a laptop that plays eight devices
    python examples/many_devices.py --layouts 4x2                eight GPUs: the batch over four,
                                                                 every weight over two
    python examples/many_devices.py --coordinator host0:1234 --processes 2 --process-id 0
    python examples/many_devices.py --cluster                    where Slurm, a TPU pod or the like
                                                                 tells each process who it is

On several machines, start the same command on each; `--out` is a folder that all of them see. The
first process shows and writes. Interrupted (Ctrl-C or kill), the same command goes on where it was,
also on another number of devices. The model is that of `char_lm.py`, smaller and for fewer steps.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

import jaxrnn as rnn
from jaxrnn import data, training
from support import corpus, experiments

HELD_OUT = 20_000


def parser() -> argparse.ArgumentParser:
    made = experiments.parser(
        "many_devices", __doc__, steps=200, batch=32, lr=1e-2, save_every=100, evaluate_every=100
    )
    add, positive = made.add_argument, experiments.positive
    add("--virtual", type=positive, metavar="N", help="play N devices on this CPU")
    add(
        "--layouts",
        nargs="+",
        metavar="BxM",
        help="the batch over B devices, weights over M (default: the batch over all)",
    )
    add("--bytes", type=positive, default=300_000, help="of text (default: %(default)s)")
    add("--hidden", type=positive, default=128, help="(default: %(default)s)")
    add("--segment", type=positive, default=32, help="characters a step (default: %(default)s)")
    add("--coordinator", metavar="HOST:PORT", help="the first process's, on several machines")
    add("--processes", type=positive, metavar="N", help="how many there are")
    add("--process-id", type=int, metavar="I", help="which one this is, from 0")
    add("--cluster", action="store_true", help="the cluster says all three")
    return made


def connect(args: argparse.Namespace) -> None:
    """What must be said before the first array is made."""
    if args.virtual:
        jax.config.update("jax_num_cpu_devices", args.virtual)
    if args.coordinator or args.cluster:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(args.coordinator, args.processes, args.process_id)


def meshes(args: argparse.Namespace) -> dict[str, Mesh]:
    """A mesh for each layout, by its name; on several machines it must have all their devices."""
    devices, found = jax.devices(), {}
    for name in args.layouts or [f"{len(devices)}x1"]:
        rows, _, columns = name.partition("x")
        if not (rows.isdecimal() and columns.isdecimal() and int(rows) * int(columns)):
            raise ValueError(f"--layouts {name}: write 4x2, say")
        count = int(rows) * int(columns)
        if count > len(devices) or (jax.process_count() > 1 and count < len(devices)):
            raise ValueError(f"--layouts {name}: there are {len(devices)} devices")
        grid = np.array(devices[:count]).reshape(int(rows), int(columns))
        found[name] = Mesh(grid, ("batch", "model"))
    return found


def described(name: str, state: training.TrainState, args: argparse.Namespace) -> int:
    """Say what lies where; the bytes of params on a device."""
    leaves = jax.tree_util.tree_leaves_with_path(state.params)
    parts = [leaf.addressable_shards[0].data for _, leaf in leaves]
    rows = jax.tree.leaves(state.carry)[0].addressable_shards[0].data.shape[0]
    print(f"\n{name}, {jax.process_count()} process(es): {rows} of {args.batch} rows a device")
    for (path, leaf), part in zip(leaves, parts, strict=True):
        place = jax.tree_util.keystr(path, simple=True, separator="/")
        print(f"  {place:8s}{leaf.shape!s:14s}{part.shape!s:14s}a device  {leaf.sharding.spec}")
    return sum(part.nbytes for part in parts)


def train(name: str, mesh: Mesh, text: bytes, args: argparse.Namespace) -> dict[str, Any]:
    """A run on a mesh; only `place` knows of it."""
    vocabulary = data.Bytes.of(text)
    tokens = vocabulary.encode(text)
    segments = data.Segments(tokens[:-HELD_OUT], args.batch, args.segment)
    net = rnn.Stack((rnn.Embed(128, 64), rnn.LSTM(args.hidden), rnn.Dense(128)))
    tx = training.optimizer(training.warmup_cosine(args.lr, args.steps))
    draw, noise = jax.random.split(jax.random.key(args.seed))
    params = net.init(draw, rnn.TOKEN)
    state = training.TrainState.create(net, params, tx, noise, (args.batch,))

    weights = "model" if mesh.shape["model"] > 1 else None
    state = training.place(state, mesh, weights=weights)
    held = data.place(data.stream(tokens[-HELD_OUT:], args.batch), mesh)
    times = []

    def batches(step: int) -> data.Batch:
        times.append(time.perf_counter())
        return data.place(segments(step), mesh)

    def evaluate(state: training.TrainState) -> dict[str, float]:
        loss = training.evaluate(net, training.cross_entropy, state.params, held)[1]
        return {"bits": float(loss.bits)}

    size = described(name, state, args) if jax.process_index() == 0 else 0
    run = training.fit(
        training.truncated_bptt_step(net, training.cross_entropy, tx),
        state,
        batches,
        args.steps,
        directory=args.out / (name if len(args.layouts or ()) > 1 else "checkpoints"),
        settings={"lr": args.lr, "hidden": args.hidden, "bytes": args.bytes},
        evaluate=evaluate,
        **experiments.often(args),
    )
    _, history = experiments.trained(run)
    return {
        "loss": history.metrics["loss"].tolist(),
        "bits": history.evaluations["bits"][-1],
        "megabytes": size / 1e6,
        "rate": (len(times) - 1) / max(times[-1] - times[0], 1e-9) if times else 0.0,
    }


def work(args: argparse.Namespace) -> None:
    began = time.perf_counter()
    connect(args)
    places = meshes(args)
    text = bytes(b for b in corpus.python_source(args.bytes + HELD_OUT) if b < 128)
    aside = "coordinator", "processes", "process_id", "cluster", "virtual", "layouts"
    if jax.process_index() == 0:
        experiments.settled(args, aside)
    runs = {name: train(name, mesh, text, args) for name, mesh in places.items()}
    if jax.process_index():
        return
    first, *_ = runs.values()
    found: dict[str, Any] = {"seed": args.seed, "seconds": time.perf_counter() - began}
    for name, run in runs.items():
        apart = np.abs(np.subtract(run["loss"], first["loss"]))
        found |= {f"{key} {name}": value for key, value in run.items() if key != "loss"}
        found |= {f"loss {name}": run["loss"][:: max(1, args.steps // 100)]}
        found |= {f"apart {name}": apart.max()}
    scores = [
        (f"bits per character of {HELD_OUT:,} held out", "bits", "", 4),
        ("largest difference of a loss from the first layout's", "apart", "nats", 7),
        ("params on a device", "megabytes", "MB", 3),
        ("speed", "rate", "steps/s", 1),
    ]
    if args.virtual:
        scores.pop()  # they share the cores of one CPU
    tables = [
        experiments.Table(title, {f"{name} devices": f"{key} {name}" for name in runs}, {}, unit, n)
        for title, key, unit, n in scores
    ]
    draw(picture := args.out / "many_devices.png", runs)
    experiments.report(
        args,
        [found],
        tables,
        shape="the next character",
        data="the source of Python's standard library",
        shows="one run on one device and on many",
        picture=picture,
        notes=["BxM: the batch is split over B devices, every weight over M."],
    )


def draw(path: pathlib.Path, runs: dict[str, dict[str, Any]]) -> None:
    """The losses of all layouts, which lie on one another, and how far they are apart."""
    with experiments.figure(path, 1, 2, size=(11, 4)) as (curves, apart):
        first = next(iter(runs.values()))["loss"]
        for k, (name, run) in enumerate(runs.items()):
            style = {"color": f"C{k}", "label": f"{name} devices", "alpha": 0.8}
            curves.plot(run["loss"], lw=1 + 1.5 * (len(runs) - 1 - k), **style)
            if k:
                apart.semilogy(np.abs(np.subtract(run["loss"], first)) + 1e-9, lw=1, **style)
        curves.set(xlabel="step", title="loss, nats per character")
        apart.set(xlabel="step", title="difference from the first layout")
        curves.legend(frameon=False)


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
