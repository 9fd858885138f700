"""Tables and a picture of what the compilers said."""

from __future__ import annotations

import pathlib
from typing import Any

from benchmarks.ahead.compilers import TARGETS
from benchmarks.cases import Case


def page(records: list[dict[str, Any]]) -> str:
    """Markdown: a table for each target and number of chips."""
    lines = []
    for target, chips in dict.fromkeys((r["target"], r["chips"]) for r in records):
        mine = [r for r in records if (r["target"], r["chips"]) == (target, chips)]
        several = f", {chips} chips" if chips > 1 else ""
        lines += [
            f"## {TARGETS[target].title}{several}: compiled, not run",
            "",
            "A gradient in params and inputs.",
            "",
            "| | library | launches a step | outside the loops | temporaries, MB | exchanges "
            "| compiled in, s |",
            "|---|---|---|---|---|---|---|",
            *(row(r) for r in sorted(mine, key=lambda r: name(r))),
            "",
        ]
    return "\n".join(lines)


def name(record: dict[str, Any]) -> str:
    return Case(**record["case"]).name


def row(record: dict[str, Any]) -> str:
    cells = [name(record), record["peer"]]
    if "refused" in record:
        return f"| {' | '.join(cells)} | {record['refused']} | | | | |"
    launches = record["launches a step"]
    exchanged = record["exchanges"] | {
        f"{kind} in a loop": n for kind, n in record["exchanges in loops"].items()
    }
    memory = record["temporaries"]
    cells += [
        "?" if launches is None else f"{launches:.1f}",
        str(sum(record["outside"].values())),
        f"{memory / 1e6:.1f}" if memory else "not said",
        ", ".join(f"{n} {kind}" for kind, n in exchanged.items()) or "none",
        f"{record['compile seconds']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def draw(path: pathlib.Path, records: list[dict[str, Any]]) -> None:
    """Launches a step, library by library: a panel for each target, on one chip."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [r for r in records if r.get("launches a step") and r["chips"] == 1]
    targets = list(dict.fromkeys(r["target"] for r in shown))
    if not targets:
        return
    figure, axes = plt.subplots(1, len(targets), figsize=(5 * len(targets), 4), squeeze=False)
    for ax, target in zip(axes[0], targets, strict=True):
        mine = [r for r in shown if r["target"] == target]
        cases = list(dict.fromkeys(name(r) for r in mine))[:6]
        peers = list(dict.fromkeys(r["peer"] for r in mine))
        for k, peer in enumerate(peers):
            heights = {name(r): r["launches a step"] for r in mine if r["peer"] == peer}
            places = [i + 0.8 * k / len(peers) for i in range(len(cases))]
            ax.bar(
                places, [heights.get(c, 0) for c in cases], 0.8 / len(peers), label=peer, zorder=2
            )
        ax.set_xticks(range(len(cases)), cases, rotation=20, ha="right", fontsize=7)
        ax.set_title(f"{TARGETS[target].title}: compiled, not run", fontsize=9)
        ax.grid(axis="y", alpha=0.3)
    axes[0][0].set_ylabel("launches a step, gradient")
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
