"""Tables and pictures of what was measured, and the comparison of two results."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterable
from typing import Any

from benchmarks.cases import WORK

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
            found[case] = {
                peer: one[name]["median"] / ours["median"]
                for peer, one in each.items()
                if peer != "jaxrnn" and name in one
            }
    return found


def milliseconds(times: dict[str, float]) -> str:
    """The median, and the least and the most of the rounds'."""
    spread = f" ({1e3 * times['least']:.2f}-{1e3 * times['most']:.2f})" if "least" in times else ""
    return f"{1e3 * times['median']:.2f}{spread}"


def layers(records: Records) -> Records:
    return [record for record in records if record.get("case", {}).get("work", "layer") == "layer"]


def others(records: Records) -> Records:
    kept = layers(records)
    return [record for record in records if record not in kept]


def table(records: Records, name: str) -> str:
    """Markdown: our milliseconds, the share of the matmul rate, and how many times as long each of
    the others takes over the same layers."""
    records = layers(records)
    cases, shares = by_case(records), ratios(records, name)
    peers = list(dict.fromkeys(record["peer"] for record in records if record["peer"] != "jaxrnn"))
    lines = [
        f"| {name}: B,T,D,H | jaxrnn ms | of matmul rate | "
        + " | ".join(f"{peer} / ours" for peer in peers)
        + " |"
    ]
    lines.append("|---|" + "---|" * (len(peers) + 2))
    for case, row in shares.items():
        ours = cases[case]["jaxrnn"]
        flops = ours.get("flops", 0) / (3 if name == "forward" else 1)
        rate = flops / ours[name]["median"] / ours["matmul"] if ours.get("matmul") else math.nan
        cells = " | ".join(f"{row[peer]:.2f}" if peer in row else "-" for peer in peers)
        lines.append(f"| {case} | {milliseconds(ours[name])} | {rate:.0%} | {cells} |")
    means = {peer: mean(row[peer] for row in shares.values() if peer in row) for peer in peers}
    lines.append(
        "| geometric mean | | | "
        + " | ".join(f"**{means[peer]:.2f}**" if means[peer] else "-" for peer in peers)
        + " |"
    )
    return "\n".join(lines)


def works(records: Records) -> str:
    """Markdown: the same for all that is no layer."""
    records = others(records)
    cases = by_case(records)
    peers = list(dict.fromkeys(record["peer"] for record in records if record["peer"] != "jaxrnn"))
    lines = [
        "| | pass | jaxrnn ms | " + " | ".join(f"{peer} / ours" for peer in peers) + " |",
        "|---|" + "---|" * (len(peers) + 2),
    ]
    for case, each in cases.items():
        for name in WORK[each["jaxrnn"]["case"]["work"]] if "jaxrnn" in each else ():
            row = ratios(records, name).get(case, {})
            if name in each["jaxrnn"]:
                cells = " | ".join(f"{row[peer]:.2f}" if peer in row else "-" for peer in peers)
                lines.append(
                    f"| {case} | {name} | {milliseconds(each['jaxrnn'][name])} | {cells} |"
                )
    return "\n".join(lines)


COSTS = {"temporaries": (1e6, "MB"), "peak": (1e6, "MB"), "compile seconds": (1, "s")}


def costs(records: Records, what: str) -> str:
    """Markdown, for the last pass of each case: the temporaries that the compiler plans beside
    arguments and results; what the pass, with its results, adds to the memory of its process at its
    highest; the seconds to compile."""
    cases, (scale, unit) = by_case(records), COSTS[what]
    keys = {
        case: f"{WORK[next(iter(each.values())).get('case', {}).get('work', 'layer')][-1]} {what}"
        for case, each in cases.items()
    }
    keys |= dict.fromkeys(keys, what) if what == "peak" else {}
    planned = {
        case: {p: one[keys[case]] for p, one in each.items() if one.get(keys[case])}
        for case, each in cases.items()
    }
    if what == "peak":  # blocks below 32 MB lie in a heap that may have had their pages before
        planned = {
            case: row for case, row in planned.items() if min(row.values(), default=0) > 2**25
        }
    peers = [
        p
        for p in dict.fromkeys(record["peer"] for record in records)
        if p != "jaxrnn" and any(p in row for row in planned.values())
    ]
    lines = [
        f"| {what} | jaxrnn {unit} | " + " | ".join(f"{peer} / ours" for peer in peers) + " |",
        "|---|" + "---|" * (len(peers) + 1),
    ]
    shares = {
        case: {p: n / row["jaxrnn"] for p, n in row.items()}
        for case, row in planned.items()
        if "jaxrnn" in row
    }
    for case, row in shares.items():
        cells = " | ".join(f"{row[peer]:.2f}" if peer in row else "-" for peer in peers)
        lines.append(f"| {case} | {planned[case]['jaxrnn'] / scale:.1f} | {cells} |")
    kept = {record["name"] for record in layers(records)}
    means = {
        peer: mean(row[peer] for case, row in shares.items() if peer in row and case in kept)
        for peer in peers
    }
    lines.append(
        "| geometric mean of layers | | "
        + " | ".join(f"**{means[peer]:.2f}**" if means[peer] else "-" for peer in peers)
        + " |"
    )
    return "\n".join(lines)


def refusals(records: Records) -> str:
    return "\n".join(
        f"- {r['name']}, {r['peer']}: {r['refused']}" for r in records if "refused" in r
    )


def draw(path: pathlib.Path, records: Records) -> None:
    """Their time over ours for each case, a panel for each pass, a colour for each library; and
    what each reaches of the rate of large products."""
    import matplotlib
    import matplotlib.ticker

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    peers = list(dict.fromkeys(record["peer"] for record in records if record["peer"] != "jaxrnn"))
    cases = list(by_case(records))
    figure, axes = plt.subplots(
        1, 3, figsize=(13, 1.5 + 0.42 * len(cases)), sharey=True, width_ratios=(3, 3, 2)
    )
    for panel, name in zip(axes[:2], ("forward", "gradient"), strict=True):
        shares = ratios(records, name)
        for k, peer in enumerate(peers):
            points = [
                (shares[case][peer], y)
                for y, case in enumerate(cases)
                if peer in shares.get(case, {})
            ]
            panel.plot(
                [x for x, _ in points],
                [y for _, y in points],
                "o",
                color=f"C{k}",
                ms=6,
                alpha=0.8,
                label=peer,
            )
        panel.axvline(1, color="black", lw=1)
        panel.set(
            xscale="log",
            title=f"{name}: their time / ours",
            yticks=range(len(cases)),
            yticklabels=cases,
        )
        panel.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
        panel.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        panel.set_xticks(
            [
                t
                for t in (0.3, 0.5, 0.7, 1, 1.5, 2, 5, 20)
                if panel.get_xlim()[0] < t < panel.get_xlim()[1]
            ]
        )
        panel.grid(alpha=0.3)
    for y, each in enumerate(by_case(records).values()):
        for peer, one in each.items():
            if one.get("flops") and one.get("matmul") and "gradient" in one:
                rate = one["flops"] / one["gradient"]["median"] / one["matmul"]
                axes[2].plot(
                    rate,
                    y,
                    "o",
                    color="black" if peer == "jaxrnn" else f"C{peers.index(peer)}",
                    ms=6,
                    alpha=0.8,
                )
    axes[2].set(xlim=(0, None), title="gradient: share of matmul rate")
    axes[2].plot([], [], "o", color="black", ms=6, label="jaxrnn")
    axes[2].legend(frameon=False, fontsize=8)
    axes[2].xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
    axes[2].grid(alpha=0.3)
    axes[0].invert_yaxis()
    axes[1].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def page(machine: dict[str, Any], records: Records) -> str:
    """All tables in Markdown, below what they were measured on."""
    stated = (
        machine
        | machine["versions"]
        | {f"{r['peer']}'s algorithm": r.get("algorithm") for r in records}
    )
    facts = ", ".join(
        f"{name} {value}"
        for name, value in stated.items()
        if value is not None and name != "versions"
    )
    parts = [facts]
    parts += [table(records, "gradient"), table(records, "forward")] if layers(records) else []
    parts += [works(records)] if others(records) else []
    parts += [costs(records, what) for what in COSTS]
    return (
        "\n\n".join(
            parts + ([f"Not measured:\n\n{refusals(records)}"] if refusals(records) else [])
        )
        + "\n"
    )


def compared(first: Records, second: Records) -> str:
    """Markdown: the second result's time over the first's,
    for each case and pass of this library."""
    a, b = by_case(first), by_case(second)
    lines = ["| | forward | gradient |", "|---|---|---|"]
    for case in a:
        one, other = a[case].get("jaxrnn", {}), b.get(case, {}).get("jaxrnn", {})
        cells = [
            f"{other[p]['median'] / one[p]['median']:.2f}" if p in one and p in other else "-"
            for p in ("forward", "gradient")
        ]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
