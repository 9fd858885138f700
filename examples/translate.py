"""Many to many of unequal length: short sentences from one language into another, out of the
message catalogues of the system.

    python examples/translate.py
        English to Italian, about five minutes on two cores
    python examples/translate.py --source de --target fr
        any pair of languages that has catalogues (--list names them)
    python examples/translate.py --pairs FILE
        your own: source<TAB>target, a sentence each, in UTF-8
    python examples/translate.py --say "cannot open the file"
        what the last checkpoint in --out makes of it

A bidirectional LSTM reads the words, an LSTM with attention writes those of the other language,
beam search chooses. Where it writes the unknown word, the source word it looks at most is copied
(Luong et al. 2015). Everything is in lower case. Beside it: copying the source, and the translation
of the most similar sentence learnt from. Sentences that differ in case, digits or punctuation alone
are on one side of the split, a tenth to test on; every choice was made on the validation sentences,
a tenth of the others.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, metrics, training
from jaxrnn.models import EncoderDecoder, Seq2SeqBatch, generate
from support import catalogues, experiments

START, END, UNKNOWN = data.Vocabulary.START, data.Vocabulary.END, data.Vocabulary.UNKNOWN
Sentence = tuple[str, ...]
Pair = tuple[Sentence, Sentence]


def parser() -> argparse.ArgumentParser:
    made = experiments.parser(
        "translate",
        __doc__,
        steps=4500,
        batch=32,
        lr=3e-3,
        save_every=500,
        evaluate_every=500,
        validate="the validation sentences",
    )
    add, positive = made.add_argument, experiments.positive
    add("--source", default="en", metavar="LANGUAGE", help="(default: %(default)s)")
    add("--target", default="it", metavar="LANGUAGE", help="(default: %(default)s)")
    add(
        "--pairs",
        type=pathlib.Path,
        metavar="FILE",
        help="source<TAB>target, a line each, instead of the catalogues",
    )
    add(
        "--most",
        type=positive,
        default=10,
        help="words of the longest sentence (default: %(default)s)",
    )
    add(
        "--least",
        type=positive,
        default=2,
        help="how often a word must occur to be known (default: %(default)s)",
    )
    add("--embed", type=positive, default=128)
    add(
        "--hidden",
        type=positive,
        default=256,
        help="of the decoder; the encoder has half of it in each direction",
    )
    add("--dropout", type=float, default=0.3)
    add("--smoothing", type=float, default=0.1, help="of the labels")
    add("--beams", type=positive, default=5)
    add(
        "--buckets",
        type=positive,
        default=2,
        help="lengths that sentences are padded to (default: %(default)s)",
    )
    add("--list", action="store_true", help="name the languages that have catalogues")
    add(
        "--say",
        nargs="+",
        metavar="SENTENCE",
        help="translate these with the net of --seed in --out",
    )
    return made


def units(text: str) -> Sentence:
    """Words in lower case and marks; an elided article stands alone: dell' utente."""
    return tuple(re.findall(r"\w+['’]?|[^\w\s]", text.lower().replace("’", "'")))


def load(args: argparse.Namespace) -> list[Pair]:
    """Seq2SeqBatch of sentences of at least two words, each source once; names (no word in lower
    case) and what is left as it is are no sentences."""
    if args.pairs is not None:
        found = []
        for number, text in enumerate(data.read_lines(args.pairs), 1):
            source, tab, target = text.partition("\t")
            if text.strip() and not (tab and source.strip() and target.strip()):
                raise ValueError(
                    f"{args.pairs}, line {number}: {text[:40]!r}; need source<TAB>target"
                )
            found += [(source, target)] if text.strip() else []
        longest = max(found, key=lambda pair: max(map(len, map(units, pair))))
        if max(map(len, map(units, longest))) > args.most:
            raise ValueError(
                f"{args.pairs}: {' '.join(longest)[:60]!r} is longer than "
                f"--most {args.most} words; give --most, or shorter sentences"
            )
        pairs = {units(source): units(target) for source, target in reversed(found)}
    else:
        sides = [
            None if language == "en" else catalogues.catalogue(language)
            for language in (args.source, args.target)
        ]
        unread = sum(len(side.unreadable) for side in sides if side)
        if unread:
            print(f"{unread} catalogues cannot be read and are left out")
        pairs = {}
        for english in next((side.messages for side in sides if side), {}):
            plain = [
                catalogues.plain(english if side is None else side.messages.get(english, ""))
                for side in sides
            ]
            source, target = map(units, plain)
            sentence = source != target and any(word.islower() for word in plain[0].split())
            if sentence and 2 <= len(source) <= args.most and 2 <= len(target) <= args.most:
                pairs.setdefault(source, target)
    if len(pairs) < 100:
        where = args.pairs or f"catalogues from {args.source} to {args.target}"
        raise ValueError(f"{where}: {len(pairs)} pairs; need at least 100")
    return list(pairs.items())


def split(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """To train, validate and test, by the hash of the letters of the source."""
    parts: tuple[list, list, list] = [], [], []
    for source, target in pairs:
        letters = re.sub(r"[\W\d_]+", " ", " ".join(source)).strip()
        share = int(hashlib.sha256(letters.encode()).hexdigest(), 16) % 100
        parts[2 if share < 10 else 1 if share < 19 else 0].append((source, target))
    return parts


def network(settings: dict[str, Any]) -> EncoderDecoder:
    hidden, drop = settings["hidden"], rnn.Dropout(settings["dropout"])
    sizes = [len(settings[side]) + 4 for side in ("sources", "targets")]
    encoder = (
        rnn.Embed(sizes[0], settings["embed"]),
        drop,
        rnn.Bidirectional(rnn.LSTM(hidden // 2)),
        drop,
    )
    decoder = (
        rnn.Embed(sizes[1], settings["embed"]),
        drop,
        rnn.LSTM(hidden),
        drop,
        rnn.Attention(hidden, memory=2 * (hidden // 2)),
        drop,
    )
    return EncoderDecoder(rnn.Stack(encoder), rnn.Stack((*decoder, rnn.Dense(sizes[1]))))


def beginning(
    settings: dict[str, Any], net: EncoderDecoder, seed: int
) -> tuple[optax.GradientTransformation, training.TrainState]:
    tx = training.optimizer(training.warmup_cosine(settings["lr"], settings["steps"]), clip=1.0)
    draw, noise = jax.random.split(jax.random.key(seed))
    return tx, training.TrainState.create(None, net.init(draw, rnn.TOKEN, rnn.TOKEN), tx, noise)


class Translator:
    """A net with the words it knows."""

    def __init__(self, settings: dict[str, Any]):
        self.settings, self.net = settings, network(settings)
        self.sources, self.targets = (
            data.Vocabulary(tuple(settings[side])) for side in ("sources", "targets")
        )
        self.look = jax.jit(
            lambda params, rows, masks: self.net.attention(
                params, *rows, source_mask=masks[0], mask=masks[1]
            )[-1]
        )

    def __call__(
        self, params: Any, sentences: Sequence[Sentence]
    ) -> tuple[list[Sentence], list[np.ndarray]]:
        """The translations, and for each where its words and its end were looked for, `[T, S]`."""
        rows = [self.sources.encode(sentence) for sentence in sentences]
        options = {
            "start": START,
            "end": END,
            "beams": self.settings["beams"],
            "buckets": 1,
            "forbidden": (data.Vocabulary.PAD, START),
        }
        tokens = generate(self.net, params, rows, self.settings["most"] + 2, **options)
        fed = [np.concatenate([[START], found]).astype(np.int32) for found in tokens]
        said: list[Any] = [None] * len(rows)
        looks: list[Any] = [None] * len(rows)
        for part in data.Buckets((rows, fed), min(256, len(rows)), 1).ordered():
            weights = np.asarray(self.look(params, part.columns, part.masks))
            for i, where in zip(part.index, np.swapaxes(weights, 0, 1), strict=True):
                if i >= 0:
                    looks[i] = where[: len(fed[i]), : len(rows[i])]
                    copies = np.array(sentences[i])[looks[i].argmax(-1)]
                    said[i] = tuple(
                        self.targets.known[t - 4] if t != UNKNOWN else str(copies[n])
                        for n, t in enumerate(tokens[i])
                    )
        return said, looks


def scores(said: Sequence[Sentence], meant: Sequence[Sentence]) -> dict[str, float]:
    """BLEU, 0 to 100, and the token accuracy: one less the edits for each word meant."""
    lines = [[" ".join(sentence) for sentence in side] for side in (said, meant)]
    return {"bleu": metrics.bleu(*lines), "tokens": 1 - metrics.word_error_rate(*lines)}


def nearest(
    train: Sequence[Pair], sentences: Sequence[Sentence], words: data.Vocabulary
) -> list[Sentence]:
    """The translation of the sentence learnt from that takes the fewest edits."""
    longest = max(len(s) for s in [*sentences, *(source for source, _ in train)])

    def table(rows: Sequence[Sentence]) -> tuple[jax.Array, jax.Array]:
        tokens = np.zeros((len(rows), longest), np.int32)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = words.encode(row)
        return jnp.asarray(tokens), jnp.asarray([len(row) for row in rows])

    known, lengths = table([source for source, _ in train])

    @jax.jit
    def closest(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        many = jnp.broadcast_to(row[0][:, None], (longest, len(train)))
        return metrics.edit_distance(
            many, known.T, jnp.broadcast_to(row[1], lengths.shape), lengths
        ).argmin()

    return [train[i][1] for i in np.asarray(jax.lax.map(closest, table(sentences)))]


def work(args: argparse.Namespace) -> None:
    if args.list:
        return print(" ".join(["en", *catalogues.catalogue_languages()]))
    if args.say:
        return say(args)
    train, validation, test = split(load(args))
    held = validation if args.validate else test
    if not (train and validation and test):
        raise ValueError(
            "the pairs are too few or too much alike to train, validate and test on: give more"
        )
    everything = [
        data.Vocabulary.of((pair[side] for pair in train), least=args.least) for side in (0, 1)
    ]
    found = {"sources": everything[0].known, "targets": everything[1].known}
    sizes = " and ".join(f"{vocabulary.size:,}" for vocabulary in everything)
    print(
        f"{len(train):,} pairs to learn, {len(validation):,} to validate, {len(test):,} to test; "
        f"{sizes} words"
    )
    translate = Translator(vars(args) | found)
    net, loss = translate.net, functools.partial(training.cross_entropy, smoothing=args.smoothing)

    def one(seed: int, folder: pathlib.Path) -> dict[str, Any]:
        def pairs(part: Sequence[Pair], batch: int, buckets: int) -> data.Buckets:
            rows = (
                [everything[0].encode(source) for source, _ in part],
                [everything[1].encode(target, start=True, end=True) for _, target in part],
            )
            return data.Buckets(rows, min(batch, len(part)), buckets, seed)

        def batch_of(padded: data.Padded) -> Seq2SeqBatch:
            return Seq2SeqBatch.of(*padded.columns, *padded.masks)

        source, some = (
            pairs(train, args.batch, args.buckets),
            [batch_of(padded) for padded in pairs(validation, 256, 1).ordered()],
        )
        plain = jax.jit(net.objective(training.cross_entropy))

        def evaluate(state: training.TrainState) -> dict[str, float]:
            losses = [plain(state.params, batch) for batch in some]
            return {
                "nats": sum(float(loss.total) for loss in losses)
                / sum(int(loss.steps) for loss in losses)
            }

        tx, state = beginning(vars(args) | found, net, seed)
        state, history = experiments.trained(
            training.fit(
                training.make_step(net.objective(loss), tx),
                state,
                lambda step: batch_of(source(step)),
                args.steps,
                directory=folder / "checkpoints",
                evaluate=evaluate,
                **experiments.often(args),
            )
        )
        said, looks = translate(state.params, [source for source, _ in held])
        shown = [
            i
            for i, (source, target) in enumerate(held)
            if 5 <= len(source) <= 8 and 5 <= len(said[i]) <= 9
        ]
        examples = [
            {"source": held[i][0], "meant": held[i][1], "said": said[i], "look": looks[i].round(3)}
            for i in (shown[:40:4] or range(3))
        ]
        curve = {name: history.evaluations[name].tolist() for name in ("step", "nats")}
        return {
            **scores(said, [target for _, target in held]),
            "curve": curve,
            "examples": examples,
        }

    content = hashlib.sha256(repr(train).encode()).hexdigest()
    runs = experiments.seeds(args, one, ("list", "say"), content=content, **found)
    sources, meant = [source for source, _ in held], [target for _, target in held]
    beside = {
        "the source, copied": sources,
        "the most similar sentence's": nearest(
            train, sources, data.Vocabulary.of(s for s, _ in train)
        ),
    }
    others = {name: scores(said, meant) for name, said in beside.items()}
    for example in runs[0]["examples"]:
        print(
            "\n".join(
                f"{name:>8s}: {' '.join(example[name])}" for name in ("source", "said", "meant")
            )
            + "\n"
        )
    draw(args.out / "translate.png", runs[0]["examples"][:3])
    title = f"{len(held):,} {'validation' if args.validate else 'test'} sentences"
    tables = [
        experiments.Table(
            f"BLEU, {title}",
            {"encoder-decoder, beam": "bleu"},
            {k: v["bleu"] for k, v in others.items()},
            unit="",
        ),
        experiments.Table(
            "token accuracy",
            {"encoder-decoder, beam": "tokens"},
            {k: v["tokens"] for k, v in others.items()},
        ),
    ]
    experiments.report(
        args,
        runs,
        tables,
        shape="many to many, unequal",
        picture=args.out / "translate.png",
        shows="translation, and where attention looks",
        data=args.pairs.name
        if args.pairs
        else f"message catalogues, {args.source} to {args.target}",
        notes=[
            "Token accuracy: one less the edits for each word of the reference, "
            "so it may be below zero."
        ],
    )


def draw(path: pathlib.Path, examples: Sequence[dict[str, Any]]) -> None:
    """Where the decoder looks (across) for each word it writes (down)."""
    with experiments.figure(
        path, 1, max(1, len(examples)), (4.2 * max(1, len(examples)), 4)
    ) as axes:
        for panel, example in zip(np.ravel(axes), examples, strict=False):
            experiments.heat(panel, example["source"], [*example["said"], "(end)"], example["look"])


def say(args: argparse.Namespace) -> None:
    """Translate sentences with the newest checkpoint, and draw where it looks."""
    translate = Translator(experiments.held(args))
    state = beginning(translate.settings, translate.net, args.seed)[1]
    sentences = [units(sentence) for sentence in args.say]
    for sentence in sentences:
        if not 1 <= len(sentence) <= translate.settings["most"]:
            raise ValueError(
                f"--say {' '.join(sentence)!r}: {len(sentence)} words; "
                f"need 1 to {translate.settings['most']}, as in training"
            )
    params = training.restore(args.out / f"seed{args.seed}" / "checkpoints", state)[0].params
    said, looks = translate(params, sentences)
    print("\n".join(" ".join(words) for words in said))
    draw(
        args.out / "say.png",
        [
            {"source": s, "said": w, "look": a}
            for s, w, a in zip(sentences, said, looks, strict=True)
        ],
    )


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
