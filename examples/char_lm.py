"""A character-level language model on real text, next to gzip, bz2 and xz (Karpathy 2015, "The Unreasonable Effectiveness of
Recurrent Neural Networks").

    python examples/char_lm.py                        Python's own standard library, about three minutes on two cores
    python examples/char_lm.py --text book.txt        a file or a folder of your own, whatever its bytes
    python examples/char_lm.py --sample-only          write more from the last checkpoint

Interrupted (Ctrl-C or kill), the same command goes on where the last checkpoint is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, decoding, training

PYTHON = "the source of Python's standard library"
HELD_OUT = 0.1


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--text", metavar="PATH", help=f"a file or a folder; by default {PYTHON}")
    add("--bytes", type=int, metavar="N", help="how much of it (default: 1100000 of Python's source, all of a text of your own)")
    add("--cell", choices=("lstm", "gru"), default="lstm")
    add("--layers", type=int, default=1)
    add("--hidden", type=int, default=256)
    add("--embed", type=int, default=64)
    add("--dropout", type=float, default=0.1, help="of the inputs of every layer, one mask a step")
    add("--steps", type=int, default=7500)
    add("--batch", type=int, default=32, help="streams read side by side")
    add("--segment", type=int, default=32, help="characters a step; the state is carried on, the gradient is cut")
    add("--chunk", type=int, default=0, metavar="N", help="back-propagate through chunks of N characters in less memory (default: all at once)")
    add("--lr", type=float, default=4e-3, help="Adam's highest learning rate; it rises over the first steps and falls as a cosine")
    add("--seed", type=int, default=0)
    add("--out", type=pathlib.Path, default=pathlib.Path("runs/char_lm"), metavar="DIR", help="checkpoints, curves, sample (default: %(default)s)")
    add("--save-every", type=int, default=500, metavar="STEPS")
    add("--evaluate-every", type=int, default=750, metavar="STEPS")
    add("--sample-only", action="store_true", help="write from the checkpoint in DIR; only the options below count")
    add("--prompt", help="what the sample goes on from")
    add("--length", type=int, default=800, help="characters to write")
    add("--temperature", type=float, default=0.7)
    add("--top-k", type=int, help="draw from the K likeliest characters alone")
    return parser


NOT_SETTINGS = ("out", "save_every", "evaluate_every", "sample_only", "prompt", "length", "temperature", "top_k")


def load(args: argparse.Namespace) -> tuple[bytes, bytes]:
    """The training part and the held-out part, the last tenth."""
    text = data.python_source(1_100_000 if args.bytes is None else args.bytes) if args.text is None else data.read_bytes(args.text, args.bytes)
    cut = len(text) - int(len(text) * HELD_OUT)
    need = args.batch * args.segment + 1
    if cut < need or len(text) - cut < 2:
        short = f"{args.text or PYTHON}: {len(text)} bytes are too few; --batch {args.batch} and --segment {args.segment} take at least"
        raise ValueError(f"{short} {max(need * 10 // 9 + 1, 20)}. Give a longer text, or smaller --batch and --segment.")
    return text[:cut], text[cut:]


def network(settings: dict[str, Any], vocabulary: data.Bytes) -> rnn.Stack:
    cell = {"lstm": "LSTM", "gru": "GRU"}[settings["cell"]]
    layers: list[rnn.Cell] = [rnn.Embed(vocabulary.size, settings["embed"])]
    for _ in range(settings["layers"]):
        layers += [rnn.Dropout(settings["dropout"])] if settings["dropout"] else []
        layers += [getattr(rnn, cell)(settings["hidden"])]
    layers += [rnn.Dropout(settings["dropout"])] if settings["dropout"] else []
    return rnn.Stack((*layers, rnn.Dense(vocabulary.size)))


def beginning(settings: dict[str, Any], net: rnn.Stack) -> tuple[optax.GradientTransformation, training.TrainState]:
    """The optimizer, and the state before the first step."""
    steps, seed = settings["steps"], jax.random.key(settings["seed"])
    rate = optax.warmup_cosine_decay_schedule(0.0, settings["lr"], min(200, steps // 10), steps, settings["lr"] / 50)
    tx = training.optimizer(optax.adamw(rate, weight_decay=1e-3), clip=1.0)
    params = net.init(jax.random.fold_in(seed, 0), rnn.TOKEN)
    return tx, training.init(net, params, tx, jax.random.fold_in(seed, 1), (settings["batch"],))


def same_run(out: pathlib.Path, settings: dict[str, Any]) -> None:
    """Keep the settings beside the checkpoints; refuse to go on with others."""
    path = out / "settings.json"
    if path.exists():
        held = json.loads(path.read_text())
        changed = [f"--{k} was {held.get(k)}, now {v}" for k, v in settings.items() if k != "vocabulary" and held.get(k) != v]
        if changed:
            raise ValueError(f"{out} holds a run with other settings: {'; '.join(changed)}. Give the same again, or another --out.")
        return
    out.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(settings, indent=1))
    temporary.replace(path)


def train(args: argparse.Namespace) -> None:
    text, held = load(args)
    vocabulary = data.Bytes.of(text)
    settings = {k: v for k, v in vars(args).items() if k not in NOT_SETTINGS}
    settings |= {"text": args.text or "python", "sha256": hashlib.sha256(text + held).hexdigest(), "vocabulary": list(vocabulary.known)}
    same_run(args.out, settings)
    print(f"{args.text or PYTHON}: {len(text):,} bytes to train on, {len(held):,} held out, {len(vocabulary.known)} different")

    net = network(settings, vocabulary)
    tx, state = beginning(settings, net)
    strategy = rnn.Chunked(args.chunk) if args.chunk else rnn.Scan()
    step = training.truncated_bptt(net, training.cross_entropy, tx, strategy=strategy)
    tokens = vocabulary.encode(held)
    stream = data.stream(tokens)

    def evaluate(state: training.TrainState) -> dict[str, float]:
        loss = training.evaluate(net, training.cross_entropy, state.params, stream, strategy=rnn.Chunked(256))[1]
        return {"bits": float(loss.bits) + vocabulary.unknown_bits(tokens[1:]) / (len(tokens) - 1)}

    segments = data.Segments(vocabulary.encode(text), args.batch, args.segment)
    print(f"{net}\n{sum(p.size for p in jax.tree.leaves(state.params)):,} parameters, {args.steps / segments.per_epoch:.1f} times through the text")
    state, history = training.fit(
        step, state, segments, args.steps, directory=args.out / "checkpoints", save_every=args.save_every, evaluate=evaluate,
        evaluate_every=args.evaluate_every,
    )  # fmt: skip
    if int(state.step) < args.steps:
        print("the same command goes on from here", file=sys.stderr)
        sys.exit(130)

    others = data.compressors(text, held)
    plot(args.out / "curves.png", history, others, f"{args.cell.upper()}({args.hidden}), character by character")
    print(f"\nbits per character on the {len(held):,} held out, having seen the {len(text):,} before them")
    for name, value in sorted({args.cell.upper(): history.evaluations["bits"][-1], **others}.items(), key=lambda item: -item[1]):
        print(f"  {name:5s} {value:.3f}")
    print(f"curves: {args.out / 'curves.png'}\n")


def write(args: argparse.Namespace) -> None:
    """A sample from the checkpoint."""
    path = args.out / "settings.json"
    if not path.exists():
        raise FileNotFoundError(f"{args.out} holds no run. Train first, or give the --out of one.")
    settings = json.loads(path.read_text())
    vocabulary = data.Bytes(bytes(settings["vocabulary"]))
    net = network(settings, vocabulary)
    state, _ = training.restore(args.out / "checkpoints", beginning(settings, net)[1])
    if args.prompt is None:
        prompt = b"    def __init__(self, " if settings["text"] == "python" else b"\n"
    else:
        prompt = args.prompt.encode("utf-8", "surrogateescape") or b"\n"
    model = jax.tree_util.Partial(rnn.advance, net, state.params)
    top_k = None if args.top_k is None else max(1, min(args.top_k, vocabulary.size))
    _, tokens = decoding.sample(
        model, net.initial_state(state.params), jnp.asarray(vocabulary.encode(prompt)), args.length, jax.random.key(settings["seed"] + 1),
        temperature=args.temperature, top_k=top_k,
    )  # fmt: skip
    sample = (prompt + vocabulary.decode(tokens)).decode("utf-8", "replace")
    (args.out / "sample.txt").write_text(sample, encoding="utf-8")
    print(f"---- written after {int(state.step):,} steps, temperature {args.temperature:g} ----")
    sys.stdout.buffer.write(sample.encode(sys.stdout.encoding or "utf-8", "replace") + b"\n") if hasattr(sys.stdout, "buffer") else print(sample)


def plot(path: pathlib.Path, history: training.History, others: dict[str, float], title: str) -> None:
    """Train and held-out bits per character against steps, the compressors as lines."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    bits = history.metrics["loss"] / np.log(2)
    width = max(1, len(bits) // 150)
    smooth = np.convolve(bits, np.ones(width) / width, "valid")
    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=130, layout="constrained")
    axes.plot(np.arange(1, len(bits) + 1), bits, color="#9ecae1", lw=0.5, alpha=0.6)
    axes.plot(np.arange(len(smooth)) + width, smooth, color="#2171b5", lw=1.5, label="train")
    last = history.evaluations["bits"][-1]
    label = f"held out, {last:.2f} at the end"
    axes.plot(history.evaluations["step"], history.evaluations["bits"], color="#d94801", lw=2, marker="o", ms=4, label=label)
    low, high = min(np.nanmin(bits), *others.values()), max(np.nanmax(bits[len(bits) // 50 :]), last)  # a skipped step's may be NaN
    low, high = max(0, low - 0.15), min(high + 0.2, 8.5)
    for other, value in others.items():
        if low <= value <= high:
            axes.axhline(value, color="#636363", lw=1, ls=(0, (5, 3)))
            axes.annotate(f"{other} {value:.2f}", (1.005, value), xycoords=("axes fraction", "data"), va="center", fontsize=9, color="#404040")
    axes.set(xlim=(0, len(bits) * 1.01), ylim=(low, high), xlabel="step", ylabel="bits per character")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)


def main(argv: list[str] | None = None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    for name in ("layers", "hidden", "embed", "steps", "batch", "segment", "length", "save_every", "evaluate_every"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if args.temperature < 0 or args.chunk < 0 or not 0 <= args.dropout < 1 or (args.bytes is not None and args.bytes < 1):
        parser.error("--temperature and --chunk must not be negative, --dropout lies in [0, 1), --bytes is at least 1")
    try:
        if not args.sample_only:
            train(args)
        write(args)
    except (OSError, ValueError) as error:
        sys.exit(f"char_lm: {error}")


if __name__ == "__main__":
    main()
