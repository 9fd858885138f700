"""One to many: a chorale in four voices out of one chord (Bach's chorales, from the corpus that
music21 carries, read without importing it).

    python examples/music.py
        about three minutes on two cores; writes chorale.mid and a piano roll
    python examples/music.py --write-only --chord 67 62 59 43 --temperature 0.8
        another one, from a chord of your own (MIDI numbers)
    python examples/music.py --corpus DIR
        MusicXML of your own in four parts (.xml, .musicxml, .mxl)

Time goes by eighth notes; at each, soprano, alto, tenor and bass say in turn what they do: strike a
pitch, hold, or rest, each knowing all that came before. So a piece is one stream of tokens, and the
negative log-likelihood of a step is the sum over its four. Tunes that begin alike are on the same
side of the split: 80 % to learn from, 10 % to make every choice with, 10 % to test on once.
"""

from __future__ import annotations

import argparse
import hashlib
import pathlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, decoding, training
from support import experiments, scores

VOICES = {"S": "soprano", "A": "alto", "T": "tenor", "B": "bass"}
HOLD, REST = -1, -2  # beside the pitches, from 0 up
COLORS = ("#d94801", "#f0a202", "#41ab5d", "#2171b5")
WRITING = ("write_only", "chord", "length", "least", "temperature", "top_p")


def parser() -> argparse.ArgumentParser:
    made = experiments.parser(
        "music",
        __doc__,
        steps=2400,
        seeds=3,
        batch=16,
        lr=5e-3,
        save_every=600,
        evaluate_every=600,
        validate="the validation part",
    )
    add, positive = made.add_argument, experiments.positive
    add(
        "--corpus",
        type=pathlib.Path,
        metavar="DIR",
        help="a folder of MusicXML (default: music21's Bach)",
    )
    add("--hidden", type=positive, default=256)
    add("--embed", type=positive, default=48)
    add("--dropout", type=float, default=0.2)
    add(
        "--segment",
        type=positive,
        default=48,
        help="tokens the gradient goes back, four an eighth note (default: %(default)s)",
    )
    add(
        "--write-only",
        action="store_true",
        help="write with the net of --seed in --out; only the options below count",
    )
    add(
        "--chord",
        type=int,
        nargs=4,
        metavar="PITCH",
        help="soprano to bass, 60 is middle c (default: how a held-out chorale begins)",
    )
    add(
        "--length",
        type=positive,
        default=128,
        help="eighth notes to write at most (default: %(default)s)",
    )
    add(
        "--least",
        type=positive,
        default=48,
        help="eighth notes before it may end (default: %(default)s)",
    )
    add("--temperature", type=float, default=0.9)
    add("--top-p", type=float, default=0.95)
    return made


def grid(parts: list[scores.Part]) -> np.ndarray | None:
    """What each of four voices does at each eighth note, `[T, 4]` of pitches struck, HOLD and REST;
    None for what is no such piece."""
    steps = {round(2 * part.length) for part in parts}
    if len(parts) != 4 or len(steps) != 1 or min(steps) < 8:
        return None
    piece = np.full((steps.pop(), 4), REST)
    for v, part in enumerate(parts):
        for begin, end, pitch in part.notes:
            first, last = (int(np.ceil(2 * t - 1e-6)) for t in (begin, end))
            piece[first : first + 1, v] = pitch if last > first else piece[first : first + 1, v]
            piece[first + 1 : last, v] = HOLD
    return piece


def load(args: argparse.Namespace) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pieces to learn from and pieces held out, by the hash of how the tune begins in any key."""
    folder = args.corpus or experiments.package("music21", "music") / "corpus" / "bach"
    paths = sorted(path for path in folder.iterdir() if path.suffix in scores.SCORES)
    parts: tuple[list, list, list] = [], [], []  # training, validation, test
    seen = set()
    for piece in (grid(scores.read_score(path)) for path in paths):
        if piece is None or (piece < 0).all(0).any() or piece.tobytes() in seen:
            continue
        seen.add(piece.tobytes())
        leaps = np.diff(piece[piece[:, 0] >= 0, 0])
        digest = hashlib.md5(
            repr(leaps[leaps != 0][:7].tolist()).encode(), usedforsecurity=False
        ).hexdigest()
        parts[max(0, int(digest, 16) % 10 - 7)].append(piece)
    if not all(parts):
        counts = " + ".join(str(len(part)) for part in parts)
        raise ValueError(
            f"{folder}: {len(paths)} MusicXML files hold {counts} pieces. Give more: at least one "
            "each to train, validate and test on, in four parts of equal length."
        )
    return parts[0], parts[1 if args.validate else 2]


def word(voice: int, what: int) -> str:
    return "SATB"[voice] + {HOLD: "_", REST: "."}.get(what, str(what))


def vocabulary(pieces: Sequence[np.ndarray]) -> data.Vocabulary:
    """What each voice may do: hold, rest, and all pitches from its lowest to its highest. The voice
    is part of the token."""
    columns = [np.concatenate([piece[piece[:, v] >= 0, v] for piece in pieces]) for v in range(4)]
    return data.Vocabulary(
        tuple(
            word(v, w)
            for v, c in enumerate(columns)
            for w in (HOLD, REST, *range(c.min(), c.max() + 1))
        )
    )


def transposed(pieces: Sequence[np.ndarray], names: data.Vocabulary) -> list[np.ndarray]:
    """Every piece in every key in which it stays within the voices' ranges."""
    known = set(names.known)
    moved = [
        np.where(piece >= 0, piece + shift, piece) for shift in range(-5, 7) for piece in pieces
    ]
    return [
        piece
        for piece in moved
        if {word(v, w) for v in range(4) for w in set(piece[:, v].tolist())} <= known
    ]


def encode(piece: np.ndarray, names: data.Vocabulary) -> np.ndarray:
    return names.encode(
        [word(v, w) for row in piece.tolist() for v, w in enumerate(row)], start=True, end=True
    )


# What counting gives


# Of a voice, all pitches that sounded a step before, and the ones above it that sound now.
Context = Callable[[int, tuple, list], tuple]
CONTEXTS: dict[str, list[Context]] = {
    "each voice's frequencies": [lambda v, before, now: (v,)],
    "the last chord again, or frequencies": [lambda v, before, now: (v,)],
    "first-order Markov, voice by voice": [
        lambda v, before, now: (v,),
        lambda v, before, now: (v, before[v]),
    ],
    "first-order Markov, chord by chord": [
        lambda v, before, now: (v,),
        lambda v, before, now: (v, before[v]),
        lambda v, before, now: (v, before, *now),
    ],
}


def events(
    pieces: Sequence[np.ndarray], contexts: Sequence[Context], again: bool
) -> Iterator[tuple[int, list]]:
    for piece in pieces:
        before: tuple = (None,) * 4
        for row in piece.tolist():
            now: list = []
            for v, what in enumerate(row):
                said = "again" if again and what == before[v] else what
                yield v, [(context(v, before, now), said) for context in contexts]
                now.append(before[v] if what == HOLD else what)
            before = tuple(now)


def counted(
    name: str, train: Sequence[np.ndarray], held: Sequence[np.ndarray], size: float
) -> float:
    """Nats a step by counts, from the shortest context to the longest (Witten & Bell 1991), the
    last resort being all tokens alike:

    p(token) = (n(context, token) + kinds(context) * p_shorter(token))
               / (n(context) + kinds(context))
    """
    contexts, again = CONTEXTS[name], "again" in name
    pairs = Counter(pair for _, found in events(train, contexts, again) for pair in found)
    kinds = Counter(context for context, _ in pairs)
    totals: Counter = Counter()
    for (context, _), n in pairs.items():
        totals[context] += n
    nats = 0.0
    for _, found in events(held, contexts, again):
        p = 1 / size
        for context, what in found:
            if totals[context]:
                p = (pairs[context, what] + kinds[context] * p) / (totals[context] + kinds[context])
        nats -= np.log(p)
    return nats / sum(map(len, held))


# What the net gives


def network(args: argparse.Namespace, names: data.Vocabulary) -> rnn.Stack:
    drop = rnn.Dropout(args.dropout)
    return rnn.Stack(
        (
            rnn.Embed(names.size, args.embed),
            drop,
            rnn.LSTM(args.hidden),
            drop,
            rnn.Dense(names.size),
        )
    )


def beginning(
    args: argparse.Namespace, net: rnn.Stack, seed: int
) -> tuple[optax.GradientTransformation, training.TrainState]:
    tx = training.optimizer(
        optax.adamw(training.warmup_cosine(args.lr, args.steps), weight_decay=1e-3), clip=1.0
    )
    draw, noise = jax.random.split(jax.random.key(seed))
    return tx, training.TrainState.create(net, net.init(draw, rnn.TOKEN), tx, noise, (args.batch,))


def scored(
    net: rnn.Stack, pieces: Sequence[np.ndarray], names: data.Vocabulary
) -> Callable[[Any], np.ndarray]:
    """params -> nats of each voice at each step. The end of a piece is left out: what is counted
    beside has none."""
    rows = [encode(piece, names)[:-1] for piece in pieces]
    tokens = np.zeros((max(map(len, rows)), len(rows)), np.int32)
    for i, row in enumerate(rows):
        tokens[: len(row), i] = row
    mask = tokens[1:] != names.PAD

    @jax.jit
    def nats(params: Any) -> jax.Array:
        _, logits = rnn.unroll(net, params, tokens[:-1], mask=mask)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[1:])
        return jnp.where(mask, losses, 0).reshape(-1, 4, len(rows)).sum((0, 2)) / (mask.sum() / 4)

    return lambda params: np.asarray(nats(params))


def write(
    args: argparse.Namespace, names: data.Vocabulary, params: Any, held: Sequence[np.ndarray]
) -> np.ndarray:
    """A piece from a chord: `[T, 4]`."""
    first = (
        np.array(args.chord)
        if args.chord
        else next(piece[0] for piece in held if (piece[0] >= 0).all())
    )
    prompt = encode(first[None], names)[:-1]
    if names.UNKNOWN in prompt:
        spans = [
            sorted(int(n[1:]) for n in names.known if n[0] == v and n[1:].isdigit()) for v in VOICES
        ]
        need = ", ".join(f"{s[0]} to {s[-1]}" for s in spans)
        raise ValueError(f"--chord {' '.join(map(str, first))}: need {need}, soprano to bass")
    net, place = network(args, names), {name: i for i, name in enumerate(names.known, 4)}
    allowed = np.full((4, names.size), -np.inf, np.float32)  # whose turn it is
    for name, i in place.items():
        allowed["SATB".index(name[0]), i] = 0

    def step(state: Any, token: jax.Array) -> tuple[Any, jax.Array]:
        inner, n = state
        inner, logits = rnn.advance(net, params, inner, token)
        may = jnp.asarray(allowed)[n % 4]
        return (inner, n + 1), logits + may.at[names.END].set(
            jnp.where((n % 4 == 0) & (n >= 4 * args.least), 0, -jnp.inf)
        )

    state = (net.initial_state(params), jnp.int32(0))
    _, tokens = decoding.sample(
        step,
        state,
        prompt,
        4 * args.length - 4,
        jax.random.key(args.seed),
        temperature=args.temperature,
        top_p=args.top_p,
        end=names.END,
    )
    written = names.decode(np.concatenate([prompt, tokens]))
    code = {"_": HOLD, ".": REST}
    return np.array(
        [code.get(w[1:], w[1:]) for w in written[: len(written) // 4 * 4]], int
    ).reshape(-1, 4)


def notes(piece: np.ndarray) -> list[list[scores.Note]]:
    """The notes of each voice, in quarter notes."""
    parts: list[list[scores.Note]] = [[] for _ in range(4)]
    for (t, v), what in np.ndenumerate(piece):
        if what >= 0:
            parts[v].append(scores.Note(t / 2, (t + 1) / 2, int(what)))
        elif what == HOLD and parts[v]:
            parts[v][-1] = parts[v][-1]._replace(end=(t + 1) / 2)
    return parts


def draw(
    path: pathlib.Path, piece: np.ndarray, runs: list[dict[str, Any]], references: dict[str, float]
) -> None:
    """The piece as a piano roll, and what a step costs by counting and by the net."""
    with experiments.figure(path, 2, 1, (10, 6.5)) as (roll, bars):
        for part, color, name in zip(notes(piece), COLORS, VOICES.values(), strict=True):
            pitch, begin, length = (
                [f(n) for n in part]
                for f in (lambda n: n.pitch, lambda n: n.begin, lambda n: n.end - n.begin)
            )
            roll.barh(
                pitch,
                length,
                left=begin,
                height=0.8,
                color=color,
                edgecolor="white",
                lw=0.6,
                label=name,
            )
        octaves = [
            p for p in range(36, 85, 12) if piece[piece >= 0].min() - 3 <= p <= piece.max() + 3
        ]
        roll.set_yticks(octaves, [f"C{p // 12 - 1}" for p in octaves])
        roll.set(xlim=(0, len(piece) / 2), xlabel="quarter notes")
        roll.set_title("Out of one chord", loc="left")
        roll.legend(frameon=False, ncols=4, loc="upper right", bbox_to_anchor=(1, 1.16))
        costs = [*references.items(), ("LSTM", float(np.mean([run["nats"] for run in runs])))]
        bars.barh(
            [name for name, _ in costs],
            [cost for _, cost in costs],
            color=["#bdbdbd"] * (len(costs) - 1) + ["#2171b5"],
            height=0.65,
        )
        bars.bar_label(bars.containers[0], fmt="%.2f", padding=3)
        bars.invert_yaxis()
        bars.set(
            xlim=(0, 1.08 * max(cost for _, cost in costs)),
            xlabel="nats to say what four voices do in an eighth note of a held-out chorale",
        )


def work(args: argparse.Namespace) -> None:
    train, held = load(args)
    names = vocabulary(train)
    net, everywhere = network(args, names), transposed(train, names)
    print(
        f"{len(train)} chorales to learn from, in {len(everywhere)} keys together; "
        f"{len(held)} held out, {sum(map(len, held)):,} eighth notes"
    )
    score = scored(net, held, names)

    def one(seed: int, folder: pathlib.Path) -> dict[str, Any]:
        order = np.random.default_rng(seed).permutation(len(everywhere))
        segments = data.Segments(
            np.concatenate([encode(everywhere[i], names)[:-1] for i in order] + [[names.START]]),
            args.batch,
            args.segment,
        )

        def batches(step: int) -> data.Batch:
            batch = segments(step)
            return batch._replace(
                resets=batch.xs == names.START,
                targets=np.where(batch.targets == names.START, names.END, batch.targets),
            )

        tx, state = beginning(args, net, seed)
        step = training.truncated_bptt_step(net, training.cross_entropy, tx)
        evaluate = (
            (lambda state: {"nats": float(score(state.params).sum())}) if args.validate else None
        )
        state, _ = experiments.trained(
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
        each = score(state.params)
        return {
            "nats": each.sum(),
            **dict(zip(VOICES.values(), each, strict=True)),
            "passes": args.steps / segments.per_epoch,
        }

    found = {"pieces": [len(train), len(held)], "steps held out": sum(map(len, held))}
    if args.write_only:
        experiments.held(args)  # or there is nothing to write with
        experiments.settled(args, WRITING, **found)
    runs = experiments.seeds(args, one, WRITING, **found)
    state, _ = training.restore(
        args.out / f"seed{args.seed}" / "checkpoints", beginning(args, net, args.seed)[1]
    )
    piece = write(args, names, state.params, held)
    (args.out / "chorale.mid").write_bytes(scores.midi(notes(piece)))
    print(f"{len(piece) / 2:g} quarter notes in {args.out / 'chorale.mid'}")
    if args.write_only:
        return
    # In other keys too where that helps.
    every = {name: everywhere if "chord by" in name else train for name in CONTEXTS}
    references = {
        name: counted(name, pieces, held, names.size / 4) for name, pieces in every.items()
    }
    draw(args.out / "music.png", piece, runs, references)
    part = "validation" if args.validate else "held-out"
    tables = [
        experiments.Table(
            f"negative log-likelihood of an eighth-note step of {part} chorales",
            {"LSTM": "nats"},
            references,
            "nats",
            2,
        )
    ]
    tables += [experiments.Table("of it", {name: name for name in VOICES.values()}, {}, "nats", 2)]
    experiments.report(
        args,
        runs,
        tables,
        shape="one to many",
        data="Bach chorales (music21)" if args.corpus is None else str(args.corpus),
        shows="a chorale out of one chord, as MIDI",
        picture=args.out / "music.png",
        notes=[
            "Not comparable, for context: 5.56 nats a quarter-note step, all in C, without onsets, "
            "on another split (RNN-NADE, Boulanger-Lewandowski et al. 2012)."
        ],
    )


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
