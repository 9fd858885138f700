"""A character-level language model on real text, next to gzip, bz2 and xz (Karpathy 2015, "The
Unreasonable Effectiveness of Recurrent Neural Networks").

    python examples/char_lm.py                    Python's own standard library, about three minutes
                                                  on two cores
    python examples/char_lm.py --text book.txt    a file or a folder of your own, whatever its bytes
    python examples/char_lm.py --sample-only      write more from the last checkpoint

Interrupted (Ctrl-C or kill), the same command goes on where the last checkpoint is.
"""

from __future__ import annotations

import argparse
import hashlib
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, decoding, training
from support import corpus, experiments

PYTHON = "the source of Python's standard library"
HELD_OUT = 0.1


def parser() -> argparse.ArgumentParser:
    made = experiments.parser("char_lm", __doc__, steps=7500, batch=32, lr=4e-3, evaluate_every=750)
    add, positive = made.add_argument, experiments.positive
    add("--text", metavar="PATH", help=f"a file or a folder; by default {PYTHON}")
    add(
        "--bytes",
        type=positive,
        metavar="N",
        help="how much of it (default: 1100000 of Python's source, all of a text of your own)",
    )
    add("--cell", choices=("lstm", "gru"), default="lstm")
    add("--layers", type=positive, default=1)
    add("--hidden", type=positive, default=256)
    add("--embed", type=positive, default=64)
    add("--dropout", type=float, default=0.1, help="of the inputs of every layer, one mask a step")
    add(
        "--segment",
        type=positive,
        default=32,
        help="characters a step; the state is carried on, the gradient is cut",
    )
    add(
        "--chunk",
        type=int,
        default=0,
        metavar="N",
        help="back-propagate through chunks of N characters in less memory (default: all at once)",
    )
    add(
        "--sample-only",
        action="store_true",
        help="write from the checkpoint in --out; only the options below count",
    )
    add("--prompt", help="what the sample goes on from")
    add("--length", type=positive, default=800, help="characters to write")
    add("--temperature", type=float, default=0.7)
    add("--top-k", type=int, help="draw from the K likeliest characters alone")
    return made


# Options of what comes after training.
WRITING = (
    "sample_only",
    "prompt",
    "length",
    "temperature",
    "top_k",
)


def load(args: argparse.Namespace) -> tuple[bytes, bytes]:
    """The training part and the held-out part, the last tenth."""
    text = (
        corpus.python_source(1_100_000 if args.bytes is None else args.bytes)
        if args.text is None
        else data.read_bytes(args.text, args.bytes)
    )
    cut = len(text) - int(len(text) * HELD_OUT)
    need = args.batch * args.segment + 1
    if cut < need or len(text) - cut < 2:
        least = max(need * 10 // 9 + 1, 20)
        raise ValueError(
            f"{args.text or PYTHON}: {len(text)} bytes are too few; --batch {args.batch} and "
            f"--segment {args.segment} take at least {least}. "
            "Give a longer text, or smaller --batch and --segment."
        )
    return text[:cut], text[cut:]


def network(settings: dict[str, Any], vocabulary: data.Bytes) -> rnn.Stack:
    cell = {"lstm": "LSTM", "gru": "GRU"}[settings["cell"]]
    layers: list[rnn.Layer] = [rnn.Embed(vocabulary.size, settings["embed"])]
    for _ in range(settings["layers"]):
        layers += [rnn.Dropout(settings["dropout"])] if settings["dropout"] else []
        layers += [getattr(rnn, cell)(settings["hidden"])]
    layers += [rnn.Dropout(settings["dropout"])] if settings["dropout"] else []
    return rnn.Stack((*layers, rnn.Dense(vocabulary.size)))


def beginning(
    settings: dict[str, Any], net: rnn.Stack, seed: int
) -> tuple[optax.GradientTransformation, training.TrainState]:
    """The optimizer, and the state before the first step."""
    tx = training.optimizer(
        optax.adamw(training.warmup_cosine(settings["lr"], settings["steps"]), weight_decay=1e-3),
        clip=1.0,
    )
    draw, noise = (jax.random.fold_in(jax.random.key(seed), i) for i in range(2))
    return tx, training.TrainState.create(
        net, net.init(draw, rnn.TOKEN), tx, noise, (settings["batch"],)
    )


def train(args: argparse.Namespace) -> None:
    text, held = load(args)
    vocabulary = data.Bytes.of(text)
    print(
        f"{args.text or PYTHON}: {len(text):,} bytes to train on, {len(held):,} held out, "
        f"{len(vocabulary.known)} different"
    )
    net = network(vars(args), vocabulary)
    strategy = rnn.Chunked(args.chunk) if args.chunk else rnn.Scan()
    tokens = vocabulary.encode(held)
    stream = data.stream(tokens)
    segments = data.Segments(vocabulary.encode(text), args.batch, args.segment)

    def evaluate(state: training.TrainState) -> dict[str, float]:
        loss = training.evaluate(
            net, training.cross_entropy, state.params, stream, strategy=rnn.Chunked(256)
        )[1]
        return {"bits": float(loss.bits) + vocabulary.unknown_bits(tokens[1:]) / (len(tokens) - 1)}

    def one(seed: int, folder: pathlib.Path) -> dict[str, Any]:
        tx, state = beginning(vars(args), net, seed)
        print(
            f"{net}\n{sum(p.size for p in jax.tree.leaves(state.params)):,} parameters, "
            f"{args.steps / segments.per_epoch:.1f} times through the text"
        )
        step = training.truncated_bptt_step(net, training.cross_entropy, tx, strategy=strategy)
        run = training.fit(
            step,
            state,
            segments,
            args.steps,
            directory=folder / "checkpoints",
            evaluate=evaluate,
            **experiments.often(args),
        )
        _, history = experiments.trained(run)
        return {
            "bits": history.evaluations["bits"][-1],
            "train": smooth(history.metrics["loss"] / np.log(2)),
            "held": [history.evaluations["step"], history.evaluations["bits"]],
        }

    found = {
        "text": args.text or "python",
        "sha256": hashlib.sha256(text + held).hexdigest(),
        "vocabulary": list(vocabulary.known),
    }
    runs = experiments.seeds(args, one, WRITING, **found)
    others = corpus.compressors(text, held)
    name = f"{args.cell.upper()}({args.hidden})"
    plot(args.out / "char_lm.png", runs, others, f"{name}, character by character", args.steps)
    title = (
        f"bits per character on the {len(held):,} held out, "
        f"having seen the {len(text):,} before them"
    )
    experiments.report(
        args,
        runs,
        [experiments.Table(title, {name: "bits"}, others, "", 3)],
        picture=args.out / "char_lm.png",
        shape="the next character",
        data=PYTHON if args.text is None else "a text of one's own",
        shows="a language model next to compressors",
        notes=[
            "The held-out text is scored throughout training, for the curve; "
            "there is no third part that was left unread."
        ],
    )


def write(args: argparse.Namespace) -> None:
    """A sample from the checkpoint."""
    settings = experiments.held(args)
    vocabulary = data.Bytes(bytes(settings["vocabulary"]))
    net = network(settings, vocabulary)
    state, _ = training.restore(
        args.out / f"seed{args.seed}" / "checkpoints", beginning(settings, net, args.seed)[1]
    )
    if args.prompt is None:
        prompt = b"    def __init__(self, " if settings["text"] == "python" else b"\n"
    else:
        prompt = args.prompt.encode("utf-8", "surrogateescape") or b"\n"
    model = jax.tree_util.Partial(rnn.advance, net, state.params)
    top_k = None if args.top_k is None else max(1, min(args.top_k, vocabulary.size))
    _, tokens = decoding.sample(
        model,
        net.initial_state(state.params),
        jnp.asarray(vocabulary.encode(prompt)),
        args.length,
        jax.random.key(args.seed + 1),
        temperature=args.temperature,
        top_k=top_k,
    )
    sample = (prompt + vocabulary.decode(tokens)).decode("utf-8", "replace")
    (args.out / "sample.txt").write_text(sample, encoding="utf-8")
    print(f"\n---- written after {int(state.step):,} steps, temperature {args.temperature:g} ----")
    sys.stdout.buffer.write(
        sample.encode(sys.stdout.encoding or "utf-8", "replace") + b"\n"
    ) if hasattr(sys.stdout, "buffer") else print(sample)


def smooth(values: np.ndarray, points: int = 300) -> list[float]:
    """At most so many means of neighbours."""
    return [float(np.nanmean(part)) for part in np.array_split(values, min(points, len(values)))]


def plot(
    path: pathlib.Path, runs: list[dict[str, Any]], others: dict[str, float], title: str, steps: int
) -> None:
    """Train and held-out bits per character against steps, the compressors as lines."""
    with experiments.figure(path) as axes:
        for i, run in enumerate(runs):
            train, (at, held) = run["train"], run["held"]
            axes.plot(
                (np.arange(len(train)) + 0.5) * steps / len(train),
                train,
                color="#2171b5",
                lw=1,
                label=None if i else "train",
            )
            axes.plot(
                at,
                held,
                color="#d94801",
                lw=2,
                marker="o",
                ms=4,
                label=None if i else f"held out, {held[-1]:.2f} at the end",
            )
        bits = [b for run in runs for b in run["train"][len(run["train"]) // 50 :] + run["held"][1]]
        low, high = max(0, min(*bits, *others.values()) - 0.15), min(max(bits) + 0.2, 8.5)
        for other, value in others.items():
            if low <= value <= high:
                axes.axhline(value, color="#636363", lw=1, ls=(0, (5, 3)))
                axes.annotate(
                    f"{other} {value:.2f}",
                    (1.005, value),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    fontsize=9,
                    color="#404040",
                )
        axes.set(
            xlim=(0, steps * 1.01), ylim=(low, high), xlabel="step", ylabel="bits per character"
        )
        axes.set_title(title, loc="left")
        axes.legend(frameon=False)


def work(args: argparse.Namespace) -> None:
    if args.temperature < 0 or args.chunk < 0 or not 0 <= args.dropout < 1:
        raise ValueError("--temperature and --chunk must not be negative, --dropout lies in [0, 1)")
    if not args.sample_only:
        train(args)
    write(args)


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
