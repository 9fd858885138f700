"""Checks on eight virtual CPU devices, a program of its own: JAX counts its devices as it starts.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m helpers.devices GROUP [whole]

prints a JSON object: what each check of the group found wrong, or null. `tests/devices` reads it.
"""

import functools
import json
import sys
from typing import Any

import jax

import jaxrnn as rnn
from helpers.cases import CELLS
from helpers.devices.cases import case, said, textbook
from helpers.devices.counting import (
    UNITS,
    WIDE,
    Counted,
    caught,
    count_forward,
    count_gradient,
    counted,
    gathered,
)
from helpers.devices.in_time import TIMED
from helpers.devices.trained import TRAINED
from helpers.devices.ways import batch_over_devices, explicit, mapped, weights_over_devices

# The groups: name -> check. The quick ones are the common cells in every mode, and others in one.

COMMON = {
    "textbook": (textbook, None, False),
    "lstm": (rnn.LSTM(4), None, True),
    "gru": (rnn.GRU(4), rnn.Chunked(4), False),
    "lru": (rnn.LRU(4, r_max=0.9), rnn.Associative(), True),
    "stack": (rnn.Stack((rnn.LSTM(4), rnn.Dense(4), rnn.GRU(4))), rnn.Chunked(4), True),
    "bidirectional": (rnn.Bidirectional(rnn.Elman(4)), None, True),
}
QUICK = {
    "jit": ["projected", "peephole", "normalised lstm", "s5"],
    "explicit": ["elman", "rg-lru", "diagonal gru", "convolution"],
    "shard_map": ["gru before", "mingru", "diagonal lstm", "terms"],
}
WAYS = {
    "jit": batch_over_devices,
    "explicit": explicit,
    "shard_map": mapped,
    "model": weights_over_devices,
}
OTHERS = {"training": TRAINED, "time": TIMED}
SKIPPED = {"dropout"}  # no params, and nothing to compare without a key


def checks(group: str, whole: bool = False) -> dict[str, Any]:
    """The checks of a group, by name."""
    found: dict[str, Any] = {}
    if group in WAYS:
        way = WAYS[group]
        for name, (cell, strategy, controlled) in {} if whole else COMMON.items():
            found[name] = functools.partial(run, way, cell, None, strategy, controlled)
        if group == "explicit" and not whole:
            for name in ("textbook", "lstm"):
                found[f"{name}, its state given"] = functools.partial(
                    run, functools.partial(explicit, given=True), *spread(COMMON[name])
                )
        for turn, name in enumerate(
            [] if group == "model" else list(CELLS) if whole else QUICK[group]
        ):
            if name in SKIPPED:
                continue
            cell, x, *_ = CELLS[name]
            for strategy in (
                (None, rnn.Chunked(4)) if whole else ((None, rnn.Chunked(4))[turn % 2],)
            ):
                for controlled in (False, True) if whole else (turn % 3 > 0,):
                    label = f"{name}, {strategy or rnn.Scan()!r}{', mask and resets' * controlled}"
                    found[label] = functools.partial(run, way, cell, x, strategy, controlled)
        if group == "model" and whole:
            for name, cell in WIDTHS.items():
                for strategy in (None, rnn.Chunked(4)):
                    found[f"{name}, {strategy or rnn.Scan()!r}"] = functools.partial(
                        run, way, cell, None, strategy, True
                    )
    elif group == "counted":
        for name, case in counted().items():
            found[f"{name}, forward"] = functools.partial(count_forward, case)
            # Autodiff of a scan sums weight gradients in its loop, on XLA:CPU over devices too.
            found[f"{name}, gradient"] = functools.partial(
                count_gradient, case, in_loop=name == "textbook"
            )
        params = rnn.LSTM(UNITS).init(jax.random.key(0), rnn.features(WIDE))
        found["the counts see inputs gathered"] = functools.partial(
            caught, count_gradient, Counted(gathered, params), "an axis of steps"
        )
        found["the counts see what is not shared"] = functools.partial(
            caught, count_forward, Counted(gathered, params), "talk"
        )
        plain = Counted(textbook, params)
        found["the counts see a loop that talks"] = functools.partial(
            caught, count_gradient, plain, "at every step"
        )
    elif group in OTHERS:
        found = OTHERS[group]
    else:
        raise ValueError(f"no group {group!r}")
    return found


WIDTHS = {
    "elman": rnn.Elman(4),
    "projected": rnn.LSTM(8, projection=4),
    "peephole": rnn.PeepholeLSTM(4),
    "gru before": rnn.GRU(4, reset_after=False),
    "normalised lstm": rnn.LayerNormLSTM(4),
    "normalised gru": rnn.LayerNormGRU(4),
    "diagonal gru": rnn.DiagonalGRU(4),
    "diagonal lstm": rnn.DiagonalLSTM(4),
    "s5": rnn.S5(4),
    "mingru": rnn.MinGRU(4),
    "minlstm": rnn.MinLSTM(4),
    "rg-lru": rnn.RGLRU(),
    "selective": rnn.S6(4),
}


def spread(row: tuple) -> tuple:
    cell, strategy, controlled = row
    return cell, None, strategy, controlled


def run(way, cell, x, strategy, controlled):
    way(case(cell, x, strategy, controlled))


def main(group: str, whole: bool = False) -> dict[str, str | None]:
    assert len(jax.devices()) == 8, f"need 8 devices, got {len(jax.devices())}: set XLA_FLAGS"
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    found: dict[str, str | None] = {}
    for name, check in checks(group, whole).items():
        try:
            check()
        except Exception as error:
            found[name] = said(error)
        else:
            found[name] = None
        if whole:
            jax.clear_caches()  # a process may map only so many programs
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], "whole" in sys.argv[2:])))
