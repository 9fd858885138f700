"""jaxrnn beside its peers: `python -m benchmarks [--quick]`.

Every library runs in a process of its own, by turns, the others stopped meanwhile; each is held to
the textbook's loss and gradients before a time is printed. Times are medians; compile time and
memory are apart. A whole record goes to benchmarks/results/, with tables and a picture.

    python -m benchmarks --quick                         a few cases, in under five minutes
    python -m benchmarks --cell lstm --peer torch linen  some of it
    python -m benchmarks --work population ensemble      a layer under vmap over params, inputs
                                                         or both
    python -m benchmarks --heap                          every library with the heap kept
                                                         between calls
    python -m benchmarks --devices 2                     the batch split over two virtual devices,
                                                         for every library on JAX
    python -m benchmarks --strategy chunked auto         this library by other strategies too,
                                                         beside the default
    python -m benchmarks --device gpu                    on a GPU, with cuDNN and a larger shape
                                                         beside the others
    python -m benchmarks --device tpu                    on a TPU, one library after the other
    python -m benchmarks --compare A.json B.json         two records: this library's times, B over A
"""

from __future__ import annotations

import argparse
import json
import pathlib

from tqdm import tqdm

from benchmarks import report, turns
from benchmarks.cases import CASES, GATES, GPU_CASES, WORK
from benchmarks.peers import GPU_ONLY, PEERS, STRATEGIES

ENVIRONMENTS = {"cpu": turns.CPU, "gpu": turns.GPU, "tpu": turns.TPU}
INSTALLS = {"cpu": "jax", "gpu": "jax[cuda13]", "tpu": "jax[tpu]"}
RESULTS = pathlib.Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="the cases that tell most, for a shorter time each"
    )
    parser.add_argument("--work", nargs="+", choices=WORK, help="(default: all)")
    parser.add_argument("--cell", nargs="+", choices=GATES, help="(default: all)")
    parser.add_argument("--shape", nargs="+", metavar="B,T,D,H", help="(default: all)")
    parser.add_argument(
        "--peer", nargs="+", choices=PEERS, help="beside jaxrnn (default: all that run there)"
    )
    parser.add_argument(
        "--strategy",
        nargs="+",
        choices=STRATEGIES,
        default=[],
        help="of this library, over layers, beside its default",
    )
    parser.add_argument(
        "--device", choices=ENVIRONMENTS, help="(default: a card where JAX finds one)"
    )
    parser.add_argument(
        "--tf32",
        action="store_true",
        help="let products on a GPU round their inputs to 10 bits, for every library",
    )
    parser.add_argument(
        "--heap", action="store_true", help="keep the heap between calls, for every library"
    )
    parser.add_argument(
        "--devices",
        type=int,
        default=1,
        help="virtual devices that every library on JAX splits the batch over (default: 1)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help="to measure each library in each case for (default: 6, quick: 1.5)",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        help="the record (default: benchmarks/results/<device>.json, "
        "or runs/ for a part of the cases or libraries)",
    )
    parser.add_argument("--list", action="store_true", help="only name the cases")
    parser.add_argument(
        "--compare", nargs=2, type=pathlib.Path, metavar=("A", "B"), help="only compare two records"
    )
    options = parser.parse_args()
    if options.compare:
        a, b = (json.loads(path.read_text())["records"] for path in options.compare)
        print(report.compared(a, b))
        return
    settings = ENVIRONMENTS[options.device] if options.device else {}
    device, kind = turns.found(settings)
    if not device:
        parser.error(
            f"got --device {options.device}, but JAX finds none here ({kind}). "
            f"Install JAX for it, say {INSTALLS[options.device]}, or leave it out."
        )
    if options.tf32 and device != "gpu":
        parser.error(
            f"got --tf32 on a {device.upper()}, whose products take their inputs whole. "
            "Leave it out."
        )
    if options.devices > 1 and device != "cpu":
        parser.error(
            f"got --devices {options.devices} on a {device.upper()}; only a CPU is made into "
            "several. Give --device cpu."
        )
    cases = [*CASES, *(GPU_CASES if device != "cpu" else [])]
    cases = [
        case
        for case in cases
        if (case.quick or not options.quick) and (not options.cell or case.cell in options.cell)
    ]
    cases = [case for case in cases if not options.work or case.work in options.work]
    if options.shape:
        cases = [
            case
            for case in cases
            if f"{case.batch},{case.steps},{case.features},{case.hidden}" in options.shape
        ]
    if options.devices > 1:  # a layer's rows alone are split, and each device takes as many
        cases = [
            case
            for case in cases
            if case.work == "layer" and not case.ragged and case.batch % options.devices == 0
        ]
    if not cases:
        parser.error("no case is left; --list names them")
    if options.list:
        print("\n".join(case.name for case in cases))
        return
    absent = {"cpu": GPU_ONLY, "gpu": set(), "tpu": GPU_ONLY | {"torch"}}[device]
    every = [peer for peer in PEERS if peer not in absent]
    peers = tuple(
        dict.fromkeys(
            ("jaxrnn", *(f"jaxrnn {name}" for name in options.strategy), *(options.peer or every))
        )
    )
    machine = turns.machine(kind if device != "cpu" else None) | {
        "heap kept": options.heap,
        "devices": options.devices,
    }
    environment = (
        ENVIRONMENTS[device] | (turns.HEAP if options.heap else {}) | turns.devices(options.devices)
    )
    if device != "cpu":
        machine |= {"tf32": options.tf32}
        environment |= {} if options.tf32 else turns.FLOAT32
    seconds = options.seconds or (1.5 if options.quick else 6)
    whole = not (options.quick or options.cell or options.shape or options.work) and set(
        peers
    ) == set(every)
    words = {
        "quick": options.quick,
        "heap": options.heap,
        "split": options.devices > 1,
        "tf32": options.tf32,
    }
    name = "-".join([device, *(word for word, given in words.items() if given)]) + ".json"
    out = options.out or (RESULTS if whole else pathlib.Path("runs/benchmarks")) / name
    records: list[dict] = []
    with tqdm(total=sum(len(turns.beside(case, peers)) for case in cases)) as bar:
        for record in turns.measure(cases, peers, environment, seconds, bar):
            records.append(record)
            out.parent.mkdir(parents=True, exist_ok=True)
            # Nothing is lost on interruption.
            out.write_text(json.dumps({"machine": machine, "records": records}, indent=1) + "\n")
    page = report.page(machine, records)
    print("\n" + page)
    out.with_suffix(".md").write_text(page)
    report.draw(out.with_suffix(".png"), records)
    print(f"record: {out}, with the tables as .md and a picture as .png")


if __name__ == "__main__":
    main()
