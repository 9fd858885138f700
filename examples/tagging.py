"""What each character of Python source is: a word, a call, a keyword, a string ... read forward
only, and in both directions.

    python examples/tagging.py                    the source of Python's own standard library, about
                                                  five minutes on two cores
    python examples/tagging.py --source FOLDER    Python files of your own
    python examples/tagging.py --show FILE        colour a file by what the trained net says of it

The classes are those of the standard module tokenize, exact for each character; a whole f-string is
a string, as every Python before 3.12 has it, and a name before a parenthesis is a call. What a
character is often shows only later: `for` may become `format(`.
"""

from __future__ import annotations

import argparse
import io
import keyword
import pathlib
import tokenize
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, training
from support import corpus, experiments

CLASSES = {
    "space": "#bbbbbb",
    "name": "#24292e",
    "call": "#6f42c1",
    "keyword": "#d73a49",
    "number": "#005cc5",
    "string": "#1a7f37",
    "comment": "#8a939c",
    "operator": "#b35900",
}
NAMES = tuple(CLASSES)
OTHER = 127  # the token of every character that is not ASCII


def parser() -> argparse.ArgumentParser:
    made = experiments.parser(
        "tagging",
        __doc__,
        steps=500,
        seeds=5,
        batch=16,
        lr=1e-2,
        save_every=250,
        validate="a tenth of the training files",
    )
    add, positive = made.add_argument, experiments.positive
    add(
        "--hidden",
        type=positive,
        default=64,
        help="of the GRU in each direction (default: %(default)s)",
    )
    add(
        "--window",
        type=positive,
        default=256,
        help="characters of a training sequence (default: %(default)s)",
    )
    add(
        "--train",
        type=positive,
        default=1_000_000,
        metavar="N",
        help="characters to learn from (default: %(default)s)",
    )
    add(
        "--test",
        type=positive,
        default=150_000,
        metavar="N",
        help="characters to be scored on (default: %(default)s)",
    )
    add(
        "--longest",
        type=positive,
        default=15_000,
        metavar="N",
        help="a test file is read up to here (default: %(default)s)",
    )
    add("--source", type=pathlib.Path, metavar="FOLDER", help="Python files of your own")
    add(
        "--show",
        type=pathlib.Path,
        metavar="FILE",
        help="colour this file in the terminal, after training",
    )
    return made


def labels(text: str) -> np.ndarray:
    """The class of every character, int32 `[N]`. Raises SyntaxError or tokenize.TokenError where it
    is no Python source."""
    starts = np.cumsum([0] + [len(line) + 1 for line in text.split("\n")])
    found, inside, begun, called = np.zeros(len(text), np.int32), 0, 0, slice(0, 0)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        span = slice(
            starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1]
        )
        if kind == "ERRORTOKEN":
            raise SyntaxError(f"{token.string!r} is no token")
        if kind.endswith("STRING_START"):  # from 3.12 on, an f-string is many tokens
            begun, inside = (begun if inside else span.start), inside + 1
        elif kind.endswith("STRING_END"):
            inside -= 1
            kind, span = "STRING", slice(begun, span.stop)
        if kind == "NEWLINE":
            called = slice(0, 0)
        if inside or kind not in ("NAME", "NUMBER", "STRING", "COMMENT", "OP"):
            continue
        name = {"NUMBER": "number", "STRING": "string", "COMMENT": "comment", "OP": "operator"}.get(
            kind
        )
        found[span] = NAMES.index(
            name or ("keyword" if keyword.iskeyword(token.string) else "name")
        )
        if token.string == "(":
            found[called] = NAMES.index("call")
        called = span if found[span][0] == NAMES.index("name") else slice(0, 0)
    return found


def encode(text: str) -> np.ndarray:
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return np.minimum(codes, OTHER).astype(np.int32)


def load(args: argparse.Namespace) -> tuple[list[Any], list[Any], int]:
    """Files in a mixed order, the first for the test and the next to learn from; each is
    (characters, classes, text). And how many will not do."""
    if args.source and not args.source.is_dir():
        raise ValueError(f"{args.source} is not a folder. Give one with Python files in it.")
    paths = corpus.python_files(args.source)
    held, train, skipped = [], [], 0
    most = min(args.test, sum(path.stat().st_size for path in paths) // 8)
    for path in paths:
        if sum(len(row[0]) for row in train) >= args.train:
            break
        try:
            with tokenize.open(path) as file:
                text = file.read()
            row = encode(text), labels(text), text
        except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
            skipped += 1
            continue
        if sum(len(row[0]) for row in held) < most:
            held += [tuple(part[: args.longest] for part in row)] if text else []
        elif len(text) >= args.window:
            train.append(row)
    if args.validate:
        held, train = (
            [tuple(part[: args.longest] for part in row) for row in train[::10]],
            [row for i, row in enumerate(train) if i % 10],
        )
    if not held or not train:
        where = args.source or "Python's standard library"
        raise ValueError(
            f"{where}: {len(paths)} Python files, {skipped} of them no Python source, are too few "
            f"for a test and files of {args.window} characters to learn from. "
            "Give more, or a smaller --window."
        )
    return train, held, skipped


def network(args: argparse.Namespace, both: bool) -> rnn.Stack:
    """A GRU that reads both ways, or a forward one as much wider
    as makes the parameters about as many."""
    body = (
        rnn.Bidirectional(rnn.GRU(args.hidden), rnn.GRU(args.hidden))
        if both
        else rnn.GRU(args.hidden * 3 // 2)
    )
    return rnn.Stack((rnn.Embed(OTHER + 1, 32), body, rnn.Dense(len(NAMES))))


def windows(args: argparse.Namespace, files: list[Any], seed: int) -> Any:
    """Random windows of the training files, pure in the step."""
    ends = np.cumsum([len(x) for x, _, _ in files])

    def batches(step: int) -> data.Batch:
        random = np.random.default_rng((seed, step))
        rows = []
        for i in np.searchsorted(ends, random.integers(ends[-1], size=args.batch), "right"):
            at = random.integers(len(files[i][0]) - args.window + 1)
            rows.append([part[at : at + args.window] for part in files[i][:2]])
        return data.Batch(*(np.stack(column, 1) for column in zip(*rows, strict=True)))

    return batches


def rule(args: argparse.Namespace) -> optax.GradientTransformation:
    return training.optimizer(
        optax.adamw(training.warmup_cosine(args.lr, args.steps), weight_decay=1e-3), clip=1.0
    )


def beginning(args: argparse.Namespace, net: rnn.Stack, seed: int) -> training.TrainState:
    """The state before the first step."""
    keys = jax.random.split(jax.random.key(seed))
    return jax.jit(
        lambda keys: training.TrainState.create(
            net, net.init(keys[0], rnn.TOKEN), rule(args), keys[1]
        )
    )(keys)


@partial(jax.jit, static_argnums=0)
def predict(net: rnn.Stack, params: Any, xs: jax.Array, mask: Any) -> jax.Array:
    return rnn.unroll(net, params, xs, mask=mask)[1].argmax(-1)


def read(net: rnn.Stack, params: Any, files: list[Any]) -> list[np.ndarray]:
    """The classes that a net gives the characters of whole files."""
    said: list[Any] = [None] * len(files)
    for batch in data.Buckets(([x for x, *_ in files],), 4).ordered():
        classes = np.asarray(predict(net, params, batch.columns[0], batch.masks[0]), np.int8)
        for column, i in enumerate(batch.index):
            if i >= 0:
                said[i] = classes[: len(files[i][0]), column]
    return said


def work(args: argparse.Namespace) -> None:
    train, held, skipped = load(args)
    truth = np.concatenate([y for _, y, _ in held])
    counts = np.zeros((OTHER + 1, len(NAMES)))
    for x, y, _ in train:
        np.add.at(counts, (x, y), 1)
    sizes = [sum(len(row[0]) for row in part) for part in (train, held)]
    print(
        f"{len(train)} files, {sizes[0]:,} characters to learn from; "
        f"{len(held)} files, {sizes[1]:,} held out; {skipped} files are no Python source"
    )
    nets = {"both": network(args, True), "forward": network(args, False)}
    steps = {
        name: training.bptt_step(net, training.cross_entropy, rule(args))
        for name, net in nets.items()
    }

    def one(seed: int, folder: pathlib.Path) -> dict[str, float]:
        result, arrays = {}, {}
        for name, net in nets.items():
            where: Any = {"directory": folder / name, **experiments.often(args)}
            fitted = training.fit(
                steps[name],
                beginning(args, net, seed),
                windows(args, train, seed),
                args.steps,
                **where,
            )
            state, _ = experiments.trained(fitted)
            arrays[name] = said = np.concatenate(read(net, state.params, held))
            result[name] = float((said == truth).mean())
            result |= {
                f"{name} {NAMES[k]}": float((said == truth)[truth == k].mean())
                for k in np.unique(truth)
            }
        np.savez(folder / "said.npz", **arrays)
        return result

    runs = experiments.seeds(args, one, aside=("show",), sizes=sizes, files=len(held))
    picture, ours = args.out / "tagging.png", {"both": "both directions", "forward": "forward only"}
    draw(picture, runs, held, np.load(args.out / f"seed{args.seed}" / "said.npz"), ours)
    memoryless = np.concatenate([counts[x].argmax(-1) for x, _, _ in held])
    others = {
        "each character's most frequent class": memoryless,
        "the most frequent class": counts.sum(0).argmax(),
    }
    tables = [
        experiments.Table(
            "characters right",
            {v: k for k, v in ours.items()},
            {k: float((v == truth).mean()) for k, v in others.items()},
        )
    ]
    for name, label in ours.items():
        tables.append(
            experiments.Table(
                f"of each class, {label}",
                {NAMES[k]: f"{name} {NAMES[k]}" for k in np.unique(truth)},
            )
        )
    experiments.report(
        args,
        runs,
        tables,
        shape="many to many, equal",
        data=args.source.name if args.source else "Python's standard library",
        picture=picture,
        shows="what each character of source is, read one way and both ways",
        notes=[f"{skipped} files are no Python source and were left out."],
    )
    if args.show:
        show(args, nets["both"])


def show(args: argparse.Namespace, net: rnn.Stack) -> None:
    """A file of any text in the terminal, coloured by what the net says."""
    text = data.read_text(args.show)
    state, _ = training.restore(
        args.out / f"seed{args.seed}" / "both", beginning(args, net, args.seed)
    )
    for character, k in zip(text, read(net, state.params, [(encode(text),)])[0], strict=True):
        red, green, blue = (int(CLASSES[NAMES[k]][i : i + 2], 16) for i in (1, 3, 5))
        print(f"\033[38;2;{red};{green};{blue}m{character}", end="")
    print("\033[0m")


def page(held: list[Any], rows: int, columns: int) -> tuple[int, list[str]]:
    """The lines of the test files where classes change most often and all fit in, and where they
    begin among all characters."""
    best, begin = (-1, 0, [""]), 0
    for _, y, text in held:
        lines, edges = text.split("\n"), np.r_[0, np.cumsum(np.diff(y) != 0)]
        starts = np.cumsum([0] + [len(line) + 1 for line in lines])
        for i in range(max(1, len(lines) - rows)):
            shown = lines[i : i + rows]
            last = min(starts[min(i + rows, len(lines))], len(y)) - 1
            score = (
                edges[last] - edges[min(starts[i], last)] if max(map(len, shown)) <= columns else 0
            )
            best = max(best, (int(score), begin + int(starts[i]), shown))
        begin += len(y)
    return best[1], best[2]


def draw(
    path: pathlib.Path, runs: list[Any], held: list[Any], said: Any, ours: dict[str, str]
) -> None:
    """A page coloured by what each net says, errors marked,
    and the share of each class that is right."""
    truth = np.concatenate([y for _, y, _ in held])
    present, columns = [NAMES[k] for k in np.unique(truth)], 56
    begin, lines = page(held, 30, columns)
    with experiments.figure(path, 1, 3, (15, 6)) as (left, middle, right):
        for axes, name in ((left, "forward"), (middle, "both")):
            at, wrong, style = (
                begin,
                0,
                {"family": "monospace", "size": 9, "va": "center", "parse_math": False},
            )
            for row, line in enumerate(lines):
                line = line[:columns]
                k, missed = (
                    said[name][at : at + len(line)],
                    said[name][at : at + len(line)] != truth[at : at + len(line)],
                )
                wrong, at = wrong + int(missed.sum()), at + len(lines[row]) + 1
                axes.text(
                    0,
                    row,
                    "".join("█" if miss else " " for miss in missed),
                    color="#ffb3b3",
                    **style,
                )
                for i in np.unique(
                    k
                ):  # each class of the line over the others, blank where they are
                    axes.text(
                        0,
                        row,
                        "".join(c if j == i else " " for c, j in zip(line, k, strict=True)),
                        color=CLASSES[NAMES[i]],
                        **style,
                    )
            axes.set(xlim=(0, 1), ylim=(len(lines), -1))
            axes.set_title(
                f"{ours[name]}: {wrong} of these {sum(map(len, lines)):,} characters wrong",
                loc="left",
                size=10,
            )
            axes.axis("off")
        height = np.arange(len(present))
        for shift, name, alpha in ((0.2, "forward", 0.45), (-0.2, "both", 1.0)):
            share = [100 * float(np.mean([run[f"{name} {k}"] for run in runs])) for k in present]
            right.barh(
                height + shift, share, 0.38, color=[CLASSES[k] for k in present], alpha=alpha
            )
            for y, value in zip(height + shift, share, strict=True):
                right.text(value, y, f" {value:.1f} {ours[name].split()[0]}", va="center", size=7.5)
        right.set_yticks(height, present)
        right.invert_yaxis()
        right.set(xlim=(0, 118), xlabel="% of the class's characters right")
        right.set_title(
            " | ".join(
                f"{ours[n]} {100 * np.mean([run[n] for run in runs]):.1f} %"
                for n in ("forward", "both")
            ),
            loc="left",
            size=10,
        )


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
