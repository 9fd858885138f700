"""One to many: a picture of a digit in, its name out, letter by letter.

    python examples/caption.py                  first half of 1,797 digits to learn from, second
                                                half to caption; five seeds, about a minute
    python examples/caption.py --validate       scored on the last fifth of the training half
                                                instead: how the defaults were chosen
    python examples/caption.py --digits FILE    a csv.gz of your own: 64 brightnesses from 0 to 16
                                                and a digit a line

A stand-in: captions of photographs need photographs, which no package carries. With ten captions in
all this is classification in disguise, and only the way is that of a captioner (Vinyals et al.
2015, "Show and Tell"): an encoder looks at the picture once, its state begins a decoder, and the
decoder is fed its own letters until it writes the end. A caption counts if every letter is right.
"""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import jax
import numpy as np

import jaxrnn as rnn
from jaxrnn import data, training
from jaxrnn.models import EncoderDecoder, Seq2SeqBatch, generate
from support import digits, experiments

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = data.Vocabulary.of(NAMES)
START, END = data.Vocabulary.START, data.Vocabulary.END
LONGEST = max(map(len, NAMES))


def parser() -> argparse.ArgumentParser:
    made = experiments.parser(
        "caption",
        __doc__,
        steps=1500,
        seeds=5,
        batch=64,
        lr=3e-3,
        save_every=500,
        validate="the last fifth of the training half",
    )
    add = made.add_argument
    add(
        "--hidden",
        type=experiments.positive,
        default=128,
        help="of encoder and decoder (default: %(default)s)",
    )
    add(
        "--noise",
        type=float,
        default=0.2,
        help="dropout of the pixels and before the letters (default: %(default)s)",
    )
    add("--digits", type=pathlib.Path, metavar="FILE", help="images of your own")
    return made


def network(args: argparse.Namespace) -> EncoderDecoder:
    encoder = rnn.Stack((rnn.Dropout(args.noise), rnn.Elman(args.hidden)))
    decoder = rnn.Stack(
        (
            rnn.Embed(LETTERS.size, 16),
            rnn.GRU(args.hidden),
            rnn.Dropout(args.noise),
            rnn.Dense(LETTERS.size),
        )
    )
    return EncoderDecoder(encoder, decoder, "copy")


def spelled(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The names `[T + 1, N]`, their beginning and end among them, and what of them counts."""
    tokens, lengths = data.pad(
        [LETTERS.encode(NAMES[label], start=True, end=True) for label in labels], LONGEST + 2
    )
    return tokens, np.arange(LONGEST + 2)[:, None] < lengths


def captions(net: EncoderDecoder, params: Any, pictures: np.ndarray) -> list[str]:
    rows = generate(
        net,
        params,
        list(np.swapaxes(pictures, 0, 1)),
        LONGEST + 2,
        start=START,
        end=END,
        beams=1,
        batch=1000,
    )
    return ["".join(LETTERS.decode(row)) for row in rows]


def nearest(train: tuple[np.ndarray, np.ndarray], held: tuple[np.ndarray, np.ndarray]) -> float:
    """The accuracy of giving each picture the name of the training picture that is nearest."""
    (known, labels), (pictures, truth) = train, held
    apart = ((pictures[0][:, None] - known[0]) ** 2).sum(-1)
    return float((labels[apart.argmin(1)] == truth).mean())


def work(args: argparse.Namespace) -> None:
    train, held = digits.digit_halves(
        args.digits or experiments.package("sklearn", "digits"), args.validate
    )
    if unknown := {*train[1].tolist(), *held[1].tolist()} - set(range(10)):
        raise ValueError(
            f"{args.digits}: a digit {min(unknown)}; need digits from 0 to 9, which have names."
        )
    net = network(args)
    truth = [NAMES[label] for label in held[1]]
    print(f"{train[0].shape[1]:,} pictures to learn from, {len(truth):,} to caption; {net}")

    def one(seed: int, folder: pathlib.Path) -> dict[str, Any]:
        key = jax.random.key(seed)
        tx = training.optimizer(training.warmup_cosine(args.lr, args.steps), clip=1.0)
        state = training.TrainState.create(
            None,
            net.init(jax.random.fold_in(key, 0), rnn.features(64), rnn.TOKEN),
            tx,
            jax.random.fold_in(key, 1),
        )
        tokens, mask = spelled(train[1])

        def batches(step: int) -> Seq2SeqBatch:
            rows = np.random.default_rng((seed, step)).integers(0, len(train[1]), args.batch)
            return Seq2SeqBatch.of(train[0][:, rows], tokens[:, rows], mask=mask[:, rows])

        step = training.make_step(net.objective(training.cross_entropy), tx)
        state, _ = experiments.trained(
            training.fit(
                step,
                state,
                batches,
                args.steps,
                directory=folder / "checkpoints",
                **experiments.often(args),
            )
        )
        words = captions(net, state.params, held[0])
        right, names = (
            float(np.mean(found))
            for found in (
                [w == t for w, t in zip(words, truth, strict=True)],
                [w in NAMES for w in words],
            )
        )
        return {"right": right, "names": names, "captions": words}

    runs = experiments.seeds(args, one)
    part = "held-out pictures" if args.validate else "test pictures"
    table = experiments.Table(
        f"captions right to the last letter, {len(truth):,} {part}",
        {"encoder-decoder": "right", "captions that are a digit's name": "names"},
        {"the name of the nearest training picture": nearest(train, held)},
    )
    picture = args.out / "caption.png"
    draw(picture, held[0][0], truth, runs[0]["captions"])
    for run in runs:
        del run["captions"]
    experiments.report(
        args,
        runs,
        [table],
        shape="one to many",
        data="scikit-learn's digits",
        shows="a picture captioned letter by letter",
        picture=picture,
        notes=(
            "With ten captions in all this is classification in disguise: "
            "a stand-in for captions of photographs.",
        ),
    )


def draw(path: pathlib.Path, pictures: np.ndarray, truth: list[str], words: list[str]) -> None:
    """A right caption of each name first, then wrong ones."""
    fine = {
        name: i
        for i, (word, name) in reversed(list(enumerate(zip(words, truth, strict=True))))
        if word == name
    }
    wrong = [i for i, (word, name) in enumerate(zip(words, truth, strict=True)) if word != name]
    shown = ([fine[name] for name in NAMES if name in fine] + wrong)[:16]
    with experiments.figure(path, 2, 8, (10, 3.6)) as axes:
        for panel in np.ravel(axes):
            panel.axis("off")
        for panel, i in zip(np.ravel(axes), shown, strict=False):
            panel.imshow(pictures[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            same = words[i] == truth[i]
            panel.set_title(
                words[i] if same else f"{words[i]}\nnot {truth[i]}",
                fontsize=11,
                color="#2171b5" if same else "#d94801",
            )


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
