"""Write README.md of this folder from the records in results/, so that no number is typed by hand.

    python examples/overview.py

A record is what an example's `--keep examples/results/NAME` leaves there.
"""

from __future__ import annotations

import argparse
import pathlib
import textwrap
from typing import Any

from support import experiments

HERE = pathlib.Path(__file__).parent
ORDER = [
    "one_to_one",
    "caption",
    "music",
    "speaker",
    "classify_text",
    "mnist1d",
    "tagging",
    "pronounce",
    "pronounce_long",
    "translate",
]
ORDER += ["forecast", "char_lm", "serve", "episodes", "vanishing", "online", "parallel_in_time"]
ORDER += ["many_devices"]

HEAD = """# Examples

Recurrent nets by what they map: one to one, one to many, many to one, many to many of equal and of
unequal length, and the next value of a series. Each is one file that runs on real data from
installed packages with one command, and each has `--help`, a progress bar, checkpoints
(interrupted, the same command goes on where it was), a picture and a record. Set-up for all of
them, from the folder above:

```sh
python3 -m venv .venv && .venv/bin/pip install -q -e ".[all-examples]"
```

`quickstart.py` is the tour of the library in a minute and `your_own_cell.py` a cell of one's own;
the others are below. Numbers are means over seeds with their standard deviation; time is that of
training and scoring, all seeds; while `pronounce`, `pronounce_long` and `translate` ran the machine
did much other work (a seed of `pronounce` or `translate` takes four to five minutes where it does
none). Choices were made on a part of the training set, and the test set was read once, except where
a section says otherwise.
This page is made by `overview.py` from the records in `results/`.
"""


def duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min"


def prose(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def unit(table: dict[str, Any]) -> str:
    return f" {table['unit']}" if table["unit"] else ""


def row(name: str, record: dict[str, Any]) -> str:
    table = record["tables"][0]
    ours, others = (
        [r for r in table["rows"] if "values" in r],
        [r for r in table["rows"] if "values" not in r],
    )
    reached = f"{table['title']}: {ours[0]['text']}{unit(table)}"
    beside = "; ".join(f"{r['name']} {r['text']}" for r in ours[1:] + others)
    columns = [
        f"[`{record['example']}.py`](#{name})",
        record["shape"],
        record["data"],
        record["shows"],
        duration(record["seconds"]),
        reached,
        beside,
    ]
    return "| " + " | ".join(map(cell, columns)) + " |"


def section(name: str, record: dict[str, Any]) -> str:
    machine = record["machine"]
    shows = record["shows"]
    lines = [f"## {name}", "", prose(f"{shows[0].upper()}{shows[1:]}."), ""]
    lines += ["```sh", record["command"], "```", ""]
    seeds = f", {len(record['runs'])} seeds" if len(record["runs"]) > 1 else ""
    lines += [
        prose(
            f"{duration(record['seconds'])} on {machine['cores']} cores ({machine['device']}), "
            f"JAX {record['versions']['jax']}{seeds}."
        ),
        "",
    ]
    for table in record["tables"]:
        lines += [
            f"| {cell(table['title'])}{f' ({u})' if (u := table['unit']) else ''} | |",
            "|---|---|",
        ]
        lines += [f"| {cell(r['name'])} | {r['text']} |" for r in table["rows"]] + [""]
    lines += [line for note in record["notes"] for line in (prose(note), "")]
    if (HERE / "results" / f"{name}.png").exists():
        lines += [f"![{name}](results/{name}.png)", ""]
    return "\n".join(lines)


def page() -> str:
    found = {path.stem: experiments.read_json(path) for path in (HERE / "results").glob("*.json")}
    names = [n for n in ORDER if n in found] + sorted(found.keys() - set(ORDER))
    table = [
        "| example | shape | data | what it shows | time | reached | beside it |",
        "|---|---|---|---|---|---|---|",
    ]
    table += [row(name, found[name]) for name in names]
    return "\n".join([HEAD, *table, "", *(section(name, found[name]) for name in names)])


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(argv)
    (HERE / "README.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
