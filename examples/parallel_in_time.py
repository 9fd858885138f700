"""How a sequence is evaluated is a value: one GRU and one LRU, every strategy, against the length
of the sequence.

    python examples/parallel_in_time.py                           about a minute on two cores
    python examples/parallel_in_time.py --lengths 256 65536       other lengths
    python examples/parallel_in_time.py --hidden 64 --batch 16    where Newton's Jacobians are large

Each strategy computes the same loss and its gradient in params and inputs. Shown are the time of
that (strategies by turns, medians, compile time apart), the temporaries as the compiler plans them,
the iterations and the residual where there are any, and how far the gradient is from that of
`Scan`. The params are as `init` draws them. What loses here, on a CPU of few cores, may win where a
device holds all steps at once.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import jaxrnn as rnn
from jaxrnn import newton_solve
from support import experiments


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="parallel_in_time",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add(
        "--lengths",
        nargs="+",
        type=experiments.positive,
        default=[256, 1024, 4096, 16384],
        metavar="T",
        help="(default: %(default)s)",
    )
    add("--hidden", type=experiments.positive, default=16, help="of the GRU (default: %(default)s)")
    add(
        "--states",
        type=experiments.positive,
        default=64,
        help="of the LRU, complex (default: %(default)s)",
    )
    add("--batch", type=experiments.positive, default=1, help="(default: %(default)s)")
    add(
        "--repeats",
        type=experiments.positive,
        default=5,
        help="of each measurement (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="(default: %(default)s)")
    add(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("runs/parallel_in_time"),
        metavar="DIR",
        help="record and picture (default: %(default)s)",
    )
    add(
        "--keep",
        type=pathlib.Path,
        metavar="PATH",
        help="in the end copy the record and the picture to PATH.json and PATH.png",
    )
    return made


def strategies(cell: rnn.Cell, steps: int) -> dict[str, rnn.Strategy]:
    near = max(math.isqrt(steps), 2)
    found: dict[str, rnn.Strategy] = {"Scan": rnn.Scan(), "Chunked": rnn.Chunked(near)}
    if isinstance(cell, rnn.LinearCell):
        return found | {
            "Associative, one loop": rnn.Associative(radix=0),
            "Associative, side by side": rnn.Associative(radix=16),
            "Chunked Associative": rnn.Chunked(near, inner=rnn.Associative()),
        }
    return found | {
        "Newton": rnn.Newton(),
        "Newton, side by side": rnn.Newton(radix=16),
        "Newton, diagonal": rnn.Newton(jacobian="diagonal"),
        "Chunked Newton": rnn.Chunked(min(256, steps), inner=rnn.Newton()),
    }


def gradient(cell: rnn.Cell, strategy: rnn.Strategy) -> Callable[[Any, Any], Any]:
    def loss(params: Any, xs: Any) -> Any:
        return jnp.mean(jnp.sin(3 * rnn.unroll(cell, params, xs, strategy=strategy)[1]))

    return jax.value_and_grad(loss, (0, 1))


def measured(
    cell: rnn.Cell, steps: int, args: argparse.Namespace, bar: tqdm
) -> list[dict[str, Any]]:
    """A row of numbers for each strategy."""
    keys = jax.random.split(jax.random.key(args.seed))
    params = cell.init(keys[0], rnn.features(8))
    xs = jax.random.normal(keys[1], (steps, args.batch, 8))
    programs, rows = {}, []
    for name, strategy in strategies(cell, steps).items():
        bar.set_postfix_str(f"{type(cell).__name__}, T={steps:,}, {name}: compiling")
        began = time.perf_counter()
        programs[name] = jax.jit(gradient(cell, strategy)).lower(params, xs).compile()
        rows.append({"strategy": name, "T": steps, "compile_seconds": time.perf_counter() - began})
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    results = {}
    for _ in range(args.repeats + 1):
        for name, program in programs.items():
            began = time.perf_counter()
            results[name] = jax.block_until_ready(program(params, xs))
            seconds[name].append(time.perf_counter() - began)
    for row, (name, strategy) in zip(rows, strategies(cell, steps).items(), strict=True):
        row["milliseconds"] = 1e3 * statistics.median(seconds[name][1:])
        row["megabytes"] = programs[name].memory_analysis().temp_size_in_bytes / 1e6
        row["error"] = apart(results[name], results["Scan"])
        if isinstance(strategy, rnn.Newton):
            _, _, info = newton_solve(cell, params, xs, strategy=strategy)
            row |= {
                "iterations": int(info.iterations),
                "residual": float(np.max(info.residual)),
                "converged": bool(info.converged.all()),
            }
        bar.update()
    return rows


def apart(got: Any, want: Any) -> float:
    """The largest difference between two gradients, leaf by leaf,
    as a share of the leaf's largest number."""
    pairs = zip(*(map(np.asarray, jax.tree.leaves(tree)) for tree in (got, want)), strict=True)
    return float(np.max([np.abs(a - b).max() / np.abs(b).max() for a, b in pairs]))


def shown(row: dict[str, Any], scan: dict[str, Any]) -> str:
    error = "not converged" if math.isnan(row["error"]) else f"{row['error']:.1e}"
    line = f"  {row['strategy']:27s}{row['T']:8,d}{row['milliseconds']:11.1f} ms"
    line += f"{row['milliseconds'] / scan['milliseconds']:8.2f} x"
    line += f"{row['megabytes']:10.2f} MB   {error:>13s}"
    return line + (
        f"{row['iterations']:5d} iterations, residual {row['residual']:.0e}"
        if "iterations" in row
        else ""
    )


def verdict(name: str, rows: list[dict[str, Any]]) -> str:
    """What is fastest, leanest and slowest at the greatest length, in one sentence."""
    last = [row for row in rows if row["T"] == rows[-1]["T"]]
    right = [row for row in last if not math.isnan(row["error"])]
    fast, slow, lean = (
        f(right, key=lambda r: r[k])
        for f, k in ((min, "milliseconds"), (max, "milliseconds"), (min, "megabytes"))
    )
    scan = last[0]
    took, memory = scan["milliseconds"], scan["megabytes"]
    said = (
        f"{name} at T={scan['T']:,}: "
        f"fastest {fast['strategy']} ({fast['milliseconds'] / took:.2f} of Scan's time), "
        f"slowest {slow['strategy']} ({slow['milliseconds'] / took:.1f} times Scan's), "
        f"leanest {lean['strategy']} ({lean['megabytes'] / memory:.2f} of Scan's memory)."
    )
    lost = [row["strategy"] for row in last if math.isnan(row["error"])]
    return said + (f" Not converged, so NaN: {', '.join(lost)}." if lost else "")


def work(args: argparse.Namespace) -> None:
    experiments.settled(args)
    cells = {"GRU": rnn.GRU(args.hidden), "LRU": rnn.LRU(args.states, r_min=0.9, r_max=0.999)}
    lengths = sorted(set(args.lengths))
    began = time.perf_counter(), time.process_time()
    with tqdm(
        total=sum(len(strategies(cell, 1)) for cell in cells.values()) * len(lengths),
        disable=not sys.stderr.isatty(),
    ) as bar:
        rows = {
            name: [row for steps in lengths for row in measured(cell, steps, args, bar)]
            for name, cell in cells.items()
        }
    for name, found in rows.items():
        print(f"\n{cells[name]}: gradient of a loss in params and inputs, B={args.batch}")
        for row in found:
            print(shown(row, next(r for r in found if r["T"] == row["T"])))
    picture = args.out / "parallel_in_time.png"
    draw(picture, rows)
    result: dict[str, Any] = {
        "seed": args.seed,
        "rows": rows,
        "seconds": round(time.perf_counter() - began[0], 1),
    }
    result["cpu_seconds"] = round(time.process_time() - began[1], 1)
    tables = []
    for unit, key, digits in (("ms", "milliseconds", 1), ("MB", "megabytes", 2)):
        for name, found in rows.items():
            last = {
                row["strategy"]: row
                for row in found
                if row["T"] == lengths[-1] and not math.isnan(row["error"])
            }
            result |= {f"{name} {key} {label}": row[key] for label, row in last.items()}
            title = f"{name}, T={lengths[-1]:,}, " + ("gradient" if unit == "ms" else "temporaries")
            tables.append(
                experiments.Table(
                    title,
                    {label: f"{name} {key} {label}" for label in last},
                    unit=unit,
                    digits=digits,
                )
            )
    notes = [verdict(name, found) for name, found in rows.items()]
    experiments.report(
        args,
        [result],
        tables,
        shape="any",
        data="noise",
        shows="one cell, every strategy: time, memory, iterations",
        picture=picture,
        notes=notes,
    )


def draw(path: pathlib.Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Time, memory and error against T, a row of panels for each cell,
    and Newton's iterations and residual."""
    kinds = (
        ("milliseconds", "gradient, ms"),
        ("megabytes", "temporaries, MB"),
        ("error", "gradient's error against Scan"),
        ("iterations", "iterations"),
        ("residual", "residual"),
    )
    with experiments.figure(path, len(rows), len(kinds), size=(18, 7.5)) as axes:
        for (name, found), line in zip(rows.items(), axes, strict=True):
            for (key, title), panel in zip(kinds, line, strict=True):
                for k, label in enumerate(dict.fromkeys(row["strategy"] for row in found)):
                    mine = [row for row in found if row["strategy"] == label and row.get(key)]
                    if mine:
                        values = np.array([row[key] for row in mine], float)
                        # Where two agree both are seen.
                        style = {
                            "lw": 5 - 0.8 * k,
                            "alpha": 0.7,
                            "ms": 8 - k,
                            "color": f"C{k}",
                            "label": label,
                        }
                        panel.plot([row["T"] for row in mine], values, "o-", **style)
                panel.set(xscale="log", xlabel="T", title=f"{name}: {title}")
                if key != "iterations" and panel.lines:
                    panel.set_yscale("log")
                if not panel.lines:
                    panel.set_axis_off()
                    panel.set_title("")
            line[0].legend(frameon=False, fontsize=8)


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
