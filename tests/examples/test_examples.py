"""The examples from end to end, with few steps."""

import json
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.running import EXAMPLES, example
from jaxrnn import data, training

SETTINGS = (
    "--hidden 4 --embed 3 --batch 2 --segment 8 --length 20 --save-every 5 --evaluate-every 30 "
    "--lr 0.02 --dropout 0.1"
)
TINY = SETTINGS.split()


char_lm = example("char_lm")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(b"the quick brown fox jumps over the lazy dog\n" * 60)
    return path


def finished(out, text):
    """The checkpoint of a run, and its history."""
    settings = json.loads((out / "settings.json").read_text())
    net = char_lm.network(settings, data.Bytes(bytes(settings["vocabulary"])))
    return training.restore(out / "seed0" / "checkpoints", char_lm.beginning(settings, net, 0)[1])


@pytest.mark.slow
def test_quickstart(capsys):
    assert np.isfinite(example("quickstart").main(["--steps", "3"]))
    assert "decoding: eight tokens" in capsys.readouterr().out


@pytest.mark.slow
def test_char_lm_killed_and_resumed_is_the_uninterrupted_run_bit_for_bit(text, tmp_path, capsys):
    options = ["--text", str(text), "--steps", "120", *TINY]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    run = subprocess.Popen(
        [sys.executable, EXAMPLES / "char_lm.py", *options, "--out", killed],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while run.poll() is None and not (killed / "seed0" / "checkpoints" / "10").exists():
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert not (killed / "seed0" / "checkpoints" / "120").exists()
    char_lm.main([*options, "--out", str(whole)])
    capsys.readouterr()
    char_lm.main([*options, "--out", str(killed)])
    (state, history), (want, curve) = finished(killed, text), finished(whole, text)
    assert int(state.step) == len(history.metrics["loss"]) == 120
    for got, right in zip(
        jax.tree.leaves(((state.params, state.opt_state, state.carry), history)),
        jax.tree.leaves(((want.params, want.opt_state, want.carry), curve)),
        strict=True,
    ):
        np.testing.assert_array_equal(got, right)
    np.testing.assert_array_equal(*(jax.random.key_data(s.key) for s in (state, want)))
    assert history.evaluations["step"].tolist() == [30, 60, 90, 120]
    assert history.evaluations["bits"][-1] < history.evaluations["bits"][0]
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("gzip", "bz2", "xz", "LSTM", "written after 120 steps"))
    curves = (killed / "char_lm.png").read_bytes()
    assert curves.startswith(b"\x89PNG")
    assert len(curves) < 200_000
    # Ended and called again, it trains no more; other settings are refused;
    # and it writes without training.
    char_lm.main([*options, "--out", str(killed)])
    with pytest.raises(SystemExit, match="got settings --hidden 5; need --hidden 4"):
        char_lm.main([*options, "--out", str(killed), "--hidden", "5"])
    capsys.readouterr()
    char_lm.main(
        [
            "--sample-only",
            "--out",
            str(killed),
            "--prompt",
            "the \u2603",
            "--length",
            "9",
            "--temperature",
            "0",
            "--top-k",
            "99",
        ]
    )
    assert (killed / "sample.txt").read_text().startswith("the \u2603")
    assert len((killed / "sample.txt").read_bytes()) == 4 + 3 + 9
    text.write_bytes(text.read_bytes()[:-1])
    with pytest.raises(SystemExit, match=r"got settings .*--sha256 "):
        char_lm.main([*options, "--out", str(killed)])


@pytest.mark.slow
def test_char_lm_takes_any_bytes_and_stops_on_ctrl_c(tmp_path, capsys, monkeypatch, usual_signals):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(
        np.random.default_rng(0).integers(0, 100, 900).astype(np.uint8).tobytes()
    )
    (folder / "b").write_bytes(bytes(range(100, 256)))  # held out: bytes that never occur before
    options = [
        "--text",
        str(folder),
        "--cell",
        "gru",
        "--layers",
        "2",
        "--steps",
        "12",
        "--chunk",
        "3",
        "--out",
        str(tmp_path / "out"),
        *TINY[:-2],
    ]
    call = data.Segments.__call__

    def interrupted(self, step):
        if step == 6:
            signal.raise_signal(signal.SIGINT)
        return call(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(data.Segments, "__call__", interrupted)
        with pytest.raises(SystemExit, match="130"):
            char_lm.main(options)
    assert "interrupted after step 7 of 12, saved in" in capsys.readouterr().err
    char_lm.main(options)
    state, history = finished(tmp_path / "out", folder)
    assert int(state.step) == 12
    # The unknown bytes cost what the model gives "unknown", and which of the 156 it is.
    assert history.evaluations["bits"][-1] > 7.28
    assert "GRU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (None, [], "nothing.txt"),
        (b"", [], "got no bytes"),
        (b"abc", [], "3 bytes are too few"),
        (
            b"a" * 1000,
            ["--batch", "200"],
            "1000 bytes are too few; --batch 200 and --segment 8 take at least",
        ),
        (b"a" * 1000, ["--sample-only"], "holds no run"),
    ],
)
def test_char_lm_says_in_one_line_what_is_wrong(content, options, words, tmp_path):
    path = tmp_path / "nothing.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        char_lm.main(["--text", str(path), "--out", str(tmp_path / "out"), *TINY, *options])
    assert words in str(stop.value)
    assert "\n" not in str(stop.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["char_lm", "quickstart"])
def test_help_and_bad_options(name, capsys):
    with pytest.raises(SystemExit) as stop:
        example(name).main(["--help"])
    assert stop.value.code == 0
    with pytest.raises(SystemExit) as stop:
        example(name).main(["--steps", "0"])
    assert stop.value.code == 2
    assert "must be at least 1" in capsys.readouterr().err


def test_bits_per_character_are_those_of_the_bytes(text):
    """A model that knows nothing costs log2 of the vocabulary."""
    settings = {"cell": "lstm", "hidden": 4, "layers": 1, "embed": 3, "dropout": 0.0}
    vocabulary = data.Bytes.of(text.read_bytes())
    net = char_lm.network(settings, vocabulary)
    params = jax.tree.map(jnp.zeros_like, net.init(jax.random.key(0), char_lm.rnn.TOKEN))
    stream = data.stream(vocabulary.encode(text.read_bytes()[:300]))
    _, loss = training.evaluate(net, training.cross_entropy, params, stream)
    np.testing.assert_allclose(loss.bits, np.log2(vocabulary.size), rtol=1e-6)


def test_the_page_of_examples_is_made_from_their_records():
    assert (EXAMPLES / "README.md").read_text(encoding="utf-8") == example("overview").page(), (
        "run python examples/overview.py"
    )
    for record in (EXAMPLES / "results").glob("*.json"):
        held = json.loads(record.read_text(encoding="utf-8"))
        assert (EXAMPLES / f"{held['example']}.py").exists()
        assert held["command"].startswith(f"python examples/{held['example']}.py")
        assert all(
            np.isfinite(row.get("values", row.get("value"))).all()
            for table in held["tables"]
            for row in table["rows"]
        )
        assert record.with_suffix(".png").stat().st_size <= 200_000
