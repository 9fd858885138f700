"""Tables and a picture of what the compilers said."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable
from typing import Any

from benchmarks.ahead.compilers import TARGETS
from benchmarks.cases import SMALL, Case
from benchmarks.report import mean

Records = list[dict[str, Any]]
Value = Callable[[dict[str, Any]], Any]
ABSENT = "it has no such"  # how a refusal begins that is no failure
TITLES = {"plain": "textbook `lax.scan`", "linen": "flax linen", "nnx": "flax nnx"}


def case_name(record: dict[str, Any]) -> str:
    return Case(**record["case"]).name


def on_one(records: Records, target: str) -> Records:
    """What was compiled for one chip of a target."""
    return [r for r in records if (r["target"], r["chips"]) == (target, 1)]


def layers(records: Records) -> Records:
    return [r for r in records if r["case"]["work"] == "layer"]


def libraries(records: Records) -> list[str]:
    return list(dict.fromkeys(r["peer"] for r in records))


def number(n: float | None) -> str:
    return "?" if n is None else f"{n:.1f}" if n >= 1 or not n else f"{n:.2g}"


def a_step(record: dict[str, Any]) -> str:
    """Launches a step; where there is none, the kernels of whole sequences, which `Fused` makes."""
    kernels = record["outside"].get("kernel", 0)
    fused = kernels and record["launches a step"] == 0
    return f"{kernels} in all" if fused else number(record["launches a step"])


def launches(record: dict[str, Any]) -> str:
    return f"{a_step(record)} (+{sum(record['outside'].values())})"


COLUMNS: dict[str, tuple[Value, Callable[[dict[str, Any]], str]]] = {
    # what: the number that is compared, and how it is written
    "launches a step (and once)": (lambda r: r["launches a step"], launches),
    "temporaries, MB": (lambda r: r["temporaries"], lambda r: f"{r['temporaries'] / 1e6:.1f}"),
    "read and written, MB": (
        lambda r: r["bytes"],
        lambda r: "?" if r["bytes"] is None else f"{r['bytes'] / 1e6:.0f}",
    ),
    "Gflop": (
        lambda r: r["flops"],
        lambda r: "?" if r["flops"] is None else f"{r['flops'] / 1e9:.2f}",
    ),
    "compiled in, s": (
        lambda r: r["compile seconds"],
        lambda r: f"{r['compile seconds']:.1f}",
    ),
}


def by_case(records: Records) -> dict[str, dict[str, dict[str, Any]]]:
    """The records that are no refusals, by case and library."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for r in records:
        if "refused" not in r:
            found.setdefault(case_name(r), {})[r["peer"]] = r
    return found


def means(records: Records, value: Value) -> dict[str, float | None]:
    """Theirs over ours, the geometric mean over the layers that both have; where this library has
    none of a thing (temporaries that fit in VMEM, say) nothing is compared."""
    pairs: dict[str, list[float]] = {peer: [] for peer in libraries(records)}
    for each in by_case(layers(records)).values():
        ours = value(each["jaxrnn"]) if "jaxrnn" in each else None
        for peer, one in each.items():
            if ours and value(one):
                pairs[peer].append(value(one) / ours)
    return {peer: mean(ratios) for peer, ratios in pairs.items()}


def ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def table(records: Records, what: str) -> str:
    """Markdown: a row for each case, a column for each library."""
    value, written = COLUMNS[what]
    peers = libraries(records)
    lines = [f"| {what} | {' | '.join(peers)} |", "|---|" + "---|" * len(peers)]
    for case, each in by_case(records).items():
        cells = [written(each[p]) if p in each else "-" for p in peers]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    last = [f"**{ratio(mean)}**" for mean in means(records, value).values()]
    return "\n".join([*lines, f"| layers, theirs / ours | {' | '.join(last)} |"])


def kinds(records: Records) -> str:
    """Markdown: launches a step, by what they are for."""
    lines = ["| launches a step by kind | library | |", "|---|---|---|"]
    for r in records:
        if r.get("by kind"):
            parts = ", ".join(f"{n:.2g} {name}" for name, n in r["by kind"].items())
            lines.append(f"| {case_name(r)} | {r['peer']} | {parts} |")
    return "\n".join(lines)


def exchanged(record: dict[str, Any]) -> str:
    inside = {f"{kind} in a loop": n for kind, n in record["exchanges in loops"].items()}
    parts = (record["exchanges"] | inside).items()
    return ", ".join(f"{n} {kind}" for kind, n in parts) or "none"


def several(records: Records) -> str:
    """Markdown: what several chips exchange, the batch split over them and the params copied."""
    lines = ["| exchanges | chips | library | |", "|---|---|---|---|"]
    lines += [
        f"| {case_name(r)} | {r['chips']} | {r['peer']} | {exchanged(r)} |"
        for r in records
        if "refused" not in r and r["chips"] > 1
    ]
    return "\n".join(lines)


def page(records: Records, facts: dict[str, Any] | None = None) -> str:
    """All tables in Markdown, target by target."""
    stated = ", ".join(f"{name} {value}" for name, value in (facts or {}).items() if value)
    parts = ["Compiled by the cards' own compilers, not run. Nothing here is a time on a card."]
    parts += [stated] if stated else []
    for target in dict.fromkeys(r["target"] for r in records):
        mine = [r for r in records if r["target"] == target]
        one = on_one(records, target)
        parts += [f"## {TARGETS[target].title}: compiled, not run"]
        parts += [table(one, what) for what in COLUMNS] if by_case(one) else []
        parts += [kinds(one)] if by_case(one) else []
        parts += [several(mine)] if any(r["chips"] > 1 for r in mine) else []
        refused = [
            f"- {case_name(r)}, {r['peer']}, chips {r['chips']}: {r['refused']}"
            for r in mine
            if not r.get("refused", ABSENT).startswith(ABSENT)
        ]
        parts += ["Not compiled:\n\n" + "\n".join(refused)] if refused else []
    return "\n\n".join(parts) + "\n"


def short(records: Records) -> str:
    """Markdown: the few rows that docs/numbers.md shows."""
    peers = libraries(layers(records))
    titles = ["jaxrnn", *(TITLES.get(p, p) for p in peers[1:])]
    lines = [f"| compiled, not run | {' | '.join(titles)} |", "|---|" + "---|" * len(peers)]

    def row(title: str, cells: dict[str, str]) -> None:
        lines.append(f"| {title} | {' | '.join(cells.get(p, '-') for p in peers)} |")

    for target in dict.fromkeys(r["target"] for r in records):
        one, card = on_one(records, target), TARGETS[target].title
        for cell in ("lstm", "gru", "elman"):
            each = by_case(one).get(Case(cell, *SMALL).name, {})
            row(
                f"{card}: launches a step, {cell} {','.join(map(str, SMALL))}",
                {p: a_step(r) for p, r in each.items()},
            )
        for what, value in (
            ("launches a step", lambda r: r["launches a step"]),
            ("temporaries", lambda r: r["temporaries"]),
            ("bytes read and written", lambda r: r["bytes"]),
        ):
            theirs = means(one, value)
            row(f"{card}: {what}, theirs / ours", {p: ratio(n) for p, n in theirs.items()})
        for chips in sorted({r["chips"] for r in records} - {1}):
            trained = [
                r
                for r in records
                if (r["target"], r["chips"], r["case"]["work"]) == (target, chips, "training")
                and "refused" not in r
            ]
            row(
                f"{card}, {chips} chips: exchanges of a training step",
                {r["peer"]: exchanged(r) for r in trained},
            )
    return "\n".join(lines)


def put(page: str, short: str) -> str:
    """A page with its table of what was compiled replaced."""
    return re.sub(r"\| compiled, not run \|.*\n(?:\|.*\n)*", lambda _: f"{short}\n", page)


def draw(path: pathlib.Path, records: Records) -> None:
    """Launches a step, a row for each case, a dot for each library: a panel for each target. A
    recurrence without a loop over its steps has no place on such an axis."""
    import matplotlib
    import matplotlib.ticker

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [
        r
        for r in records
        if r.get("launches a step") and r["chips"] == 1 and r["case"]["work"] != "recurrence"
    ]
    targets = list(dict.fromkeys(r["target"] for r in shown))
    if not targets:
        return
    cases = list(dict.fromkeys(case_name(r) for r in shown))
    peers = libraries(shown)
    size = (2.5 + 4.5 * len(targets), 1.6 + 0.3 * len(cases))
    figure, axes = plt.subplots(1, len(targets), figsize=size, sharey=True, squeeze=False)
    apart = 0.5 / len(peers)  # rows of dots, so that equal ones are all seen
    for ax, target in zip(axes[0], targets, strict=True):
        for k, peer in enumerate(peers):
            ours = peer == "jaxrnn"
            mine = [r for r in shown if (r["target"], r["peer"]) == (target, peer)]
            ax.plot(
                [r["launches a step"] for r in mine],
                [cases.index(case_name(r)) + (k - (len(peers) - 1) / 2) * apart for r in mine],
                "D" if ours else "o",
                color="black" if ours else f"C{k}",
                ms=5 if ours else 4,
                alpha=0.8,
                label=peer,
                zorder=3 if ours else 2,
            )
        ax.set(
            xscale="log",
            title=f"{TARGETS[target].title}: compiled, not run",
            xlabel="launches a step",
            yticks=range(len(cases)),
            yticklabels=cases,
        )
        ax.set_xlim(2, 1.2 * ax.get_xlim()[1])
        ax.set_xticks([2, 5, 10, 20, 50, 100])
        ax.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        ax.grid(alpha=0.3)
    axes[0][0].set_ylim(-0.6, len(cases) - 0.4)
    axes[0][0].invert_yaxis()
    axes[0][-1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
