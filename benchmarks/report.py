"""Tables and pictures of what was measured, and the comparison of two results."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterable
from typing import Any

Records = list[dict[str, Any]]


def by_case(records: Records) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        found.setdefault(record["name"], {})[record["peer"]] = record
    return found


def mean(ratios: Iterable[float]) -> float | None:
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else None


def ratios(records: Records, name: str) -> dict[str, dict[str, float]]:
    """Their time over ours, case by case and library by library."""
    found: dict[str, dict[str, float]] = {}
    for case, each in by_case(records).items():
        ours = each.get("jaxrnn", {}).get(name)
        if ours:
            found[case] = {peer: one[name]["median"] / ours["median"] for peer, one in each.items() if peer != "jaxrnn" and name in one}
    return found


def table(records: Records, name: str) -> str:
    """Markdown: our milliseconds, the share of the matmul rate, and how many times as long each of the others takes."""
    cases, shares = by_case(records), ratios(records, name)
    peers = list(dict.fromkeys(record["peer"] for record in records if record["peer"] != "jaxrnn"))
    lines = [f"| {name}: B,T,D,H | jaxrnn ms | of matmul rate | " + " | ".join(f"{peer} / ours" for peer in peers) + " |"]
    lines.append("|---|" + "---|" * (len(peers) + 2))
    for case, row in shares.items():
        ours = cases[case]["jaxrnn"]
        flops = ours.get("flops", 0) / (3 if name == "forward" else 1)
        rate = flops / ours[name]["median"] / ours["matmul"] if ours.get("matmul") else math.nan
        cells = " | ".join(f"{row[peer]:.2f}" if peer in row else "-" for peer in peers)
        lines.append(f"| {case} | {1e3 * ours[name]['median']:.2f} | {rate:.0%} | {cells} |")
    means = {peer: mean(row[peer] for row in shares.values() if peer in row) for peer in peers}
    lines.append("| geometric mean | | | " + " | ".join(f"**{means[peer]:.2f}**" if means[peer] else "-" for peer in peers) + " |")
    return "\n".join(lines)


def temporaries(records: Records) -> str:
    """Markdown: what a gradient adds to the memory of the process, in MB."""
    cases = by_case(records)
    peers = list(dict.fromkeys(record["peer"] for record in records))
    lines = ["| peak memory of a gradient, MB | " + " | ".join(peers) + " |", "|---|" + "---|" * len(peers)]
    for case, each in cases.items():
        lines.append(f"| {case} | " + " | ".join(f"{each[p]['peak'] / 1e6:.0f}" if each.get(p, {}).get("peak") else "-" for p in peers) + " |")
    return "\n".join(lines)


def refusals(records: Records) -> str:
    return "\n".join(f"- {r['name']}, {r['peer']}: {r['refused']}" for r in records if "refused" in r)


def draw(path: pathlib.Path, records: Records) -> None:
    """Their time over ours for each case, a panel for each pass, a colour for each library."""
    import matplotlib
    import matplotlib.ticker

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    peers = list(dict.fromkeys(record["peer"] for record in records if record["peer"] != "jaxrnn"))
    figure, axes = plt.subplots(1, 2, figsize=(11, 1.5 + 0.42 * len(by_case(records))), sharey=True)
    for panel, name in zip(axes, ("forward", "gradient"), strict=True):
        shares = ratios(records, name)
        for k, peer in enumerate(peers):
            points = [(row[peer], y) for y, row in enumerate(shares.values()) if peer in row]
            panel.plot(*zip(*points, strict=True), "o", color=f"C{k}", ms=6, alpha=0.8, label=peer)
        panel.axvline(1, color="black", lw=1)
        panel.set(xscale="log", title=f"{name}: their time / ours", yticks=range(len(shares)), yticklabels=list(shares))
        panel.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
        panel.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        panel.set_xticks([t for t in (0.3, 0.5, 0.7, 1, 1.5, 2, 5, 20) if panel.get_xlim()[0] < t < panel.get_xlim()[1]])
        panel.grid(alpha=0.3)
    axes[0].invert_yaxis()
    axes[1].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def page(machine: dict[str, Any], records: Records) -> str:
    """All tables in Markdown, below what they were measured on."""
    facts = ", ".join(f"{name} {value}" for name, value in (machine | machine["versions"]).items() if value is not None and name != "versions")
    parts = [facts, table(records, "gradient"), table(records, "forward"), temporaries(records)]
    return "\n\n".join(parts + ([f"Not measured:\n\n{refusals(records)}"] if refusals(records) else [])) + "\n"


def compared(first: Records, second: Records) -> str:
    """Markdown: the second result's time over the first's, for each case and pass of this library."""
    a, b = by_case(first), by_case(second)
    lines = ["| | forward | gradient |", "|---|---|---|"]
    for case in a:
        one, other = a[case].get("jaxrnn", {}), b.get(case, {}).get("jaxrnn", {})
        cells = [f"{other[p]['median'] / one[p]['median']:.2f}" if p in one and p in other else "-" for p in ("forward", "gradient")]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
