"""Characters of source to classes of tokens: the labels, and the example from end to end."""

import json

import numpy as np
import pytest

from helpers.running import example
from support import corpus

tagging = example("tagging")
# One for each class; o a comment, q an operator.
LETTERS = dict(zip(tagging.NAMES, "_nckdsoq", strict=True))
TINY = [
    "--hidden",
    "3",
    "--batch",
    "2",
    "--window",
    "20",
    "--steps",
    "4",
    "--seeds",
    "1",
    "--train",
    "9000",
    "--test",
    "300",
]
SOURCE = (
    'def f(x):\n    """Says\n    it."""\n'
    '    return g (x)[1_0.5] + f"{x!r:>{w}}" + rf"a{f(y)}"  # \u00e9\n\nname\n(4)\n'
)


def seen(text):
    return "".join(LETTERS[tagging.NAMES[k]] for k in tagging.labels(text))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("def f(x): pass", "kkk_cqnqq_kkkk"),
        ("if iffy(1): # no", "kk_ccccqdqq_oooo"),
        ('f"{x!r:>{w}}" + rf"a{f(y)}"', "s" * 13 + "_q_" + "s" * 11),
        ("a = '(' (b)", "n_q_sss_qnq"),
        ("name\n(4)", "nnnn_qdq"),
        ("(g\n (4))", "qc__qdqq"),
        ("x = '''a\n#b'''\n", "n_q_" + "s" * 10 + "_"),
        ("é = 0xFF\\\n+ 1", "n_q_dddd__q_d"),
    ],
)
def test_every_character_has_its_class(text, want):
    assert seen(text) == want


def test_what_is_no_source_is_refused():
    for text in ("x = (", "a = '''b", "if x:\n  a\n b\n"):
        with pytest.raises((SyntaxError, tagging.tokenize.TokenError)):
            tagging.labels(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("source")
    for i in range(8):
        (path / f"a{i}.py").write_text(SOURCE * 4, encoding="utf-8")
    (path / "broken.py").write_text("x = (\n")
    (path / "bytes.py").write_bytes(b"# \xff\n")
    return path


def test_files_are_mixed_and_split(folder):
    assert len(corpus.python_files(folder)) == 10
    assert corpus.python_files(folder) != sorted(corpus.python_files(folder))
    train, held, skipped = tagging.load(
        tagging.parser().parse_args([*TINY, "--source", str(folder)])
    )
    assert (len(train) + len(held), skipped) == (8, 2)
    x, y, text = train[0]
    assert text == SOURCE * 4
    np.testing.assert_array_equal(x, [min(ord(c), 127) for c in text])
    assert len(x) == len(y)
    batch = tagging.windows(tagging.parser().parse_args(TINY), train, 0)(3)
    rows = {(tuple(x[i : i + 20]), tuple(y[i : i + 20])) for i in range(len(x) - 19)}
    assert all(
        (tuple(a), tuple(b)) in rows for a, b in zip(batch.xs.T, batch.targets.T, strict=True)
    )


@pytest.mark.slow
def test_end_to_end(folder, tmp_path, capsys):
    show = folder / "a0.py"
    tagging.main([*TINY, "--source", str(folder), "--out", str(tmp_path), "--show", str(show)])
    shown = capsys.readouterr().out
    assert "2 files are no Python source" in shown
    assert shown.count("\033[38") == len(SOURCE * 4)
    record = json.loads((tmp_path / "results.json").read_text())
    assert {row["name"] for row in record["tables"][0]["rows"]} >= {
        "both directions",
        "forward only",
        "the most frequent class",
    }
    assert (tmp_path / "tagging.png").stat().st_size < 200_000


def test_files_padded_beside_others_are_read_as_alone():
    args = tagging.parser().parse_args(TINY)
    net = tagging.network(args, True)
    params = tagging.beginning(args, net, 0).params
    files = [(np.arange(n, dtype=np.int32) % 128,) for n in (9, 5)]
    for (x,), said in zip(files, tagging.read(net, params, files), strict=True):
        np.testing.assert_array_equal(said, tagging.predict(net, params, x[:, None], None)[:, 0])


def test_bad_input_is_one_line(tmp_path):
    for name, message in (("none", "is not a folder"), (".", "0 Python files")):
        with pytest.raises(SystemExit, match=message):
            tagging.main([*TINY, "--source", str(tmp_path / name), "--out", str(tmp_path / "out")])


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_it_learns_and_both_directions_help(tmp_path):
    tagging.main(["--validate", "--seeds", "1", "--steps", "250", "--out", str(tmp_path)])
    run = json.loads((tmp_path / "results.json").read_text())["runs"][0]
    assert run["both"] > 0.97
    assert run["both"] > run["forward"] + 0.02
    assert run["both call"] - run["forward call"] > 0.15
