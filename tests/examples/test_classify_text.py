"""The example of many to one on text: end to end with few steps, sentences of one's own, the
baseline, and what it refuses."""

import json

import numpy as np
import pytest

from helpers.running import example
from support import catalogues

classify_text = example("classify_text")
TINY = ["--steps", "3", "--hidden", "3", "--seeds", "1"]


def sentiment(count, seed):
    """Sentences in which words of praise or blame stand among others,
    some negated, some labels wrong."""
    random = np.random.default_rng(seed)
    praise, blame = [f"good{i}" for i in range(80)], [f"bad{i}" for i in range(80)]
    noise, lines = [f"word{i}" for i in range(3000)], []
    for _ in range(count):
        positive = bool(random.random() < 0.5)
        words = random.choice(noise, random.integers(4, 18)).tolist()
        for _ in range(random.integers(1, 3)):
            negated = bool(random.random() < 0.3)
            word = str(random.choice(praise if positive != negated else blame))
            at = random.integers(0, len(words) + 1)
            words[at:at] = ["not", word] if negated else [word]
        label = positive if random.random() < 0.95 else not positive
        lines.append(f"{'pos' if label else 'neg'}\t{' '.join(words)}.")
    return "\n".join(lines) + "\n"


@pytest.fixture
def files(tmp_path):
    def write(train, test=None):
        for name, text in (("a.tsv", train), ("b.tsv", train if test is None else test)):
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return [
            "--train",
            str(tmp_path / "a.tsv"),
            "--test",
            str(tmp_path / "b.tsv"),
            "--out",
            str(tmp_path / "out"),
        ]

    return write


@pytest.fixture
def said(monkeypatch):
    """Catalogues of two languages, one file unreadable."""
    sources = [f"open the file number {i} now" for i in range(40)]

    def catalogue(language, roots=None):
        words = {"xx": "apri il file numero", "yy": "öffne die Datei Nummer"}[language]
        messages = {source: f"{words} {i} {language}" for i, source in enumerate(sources)}
        return catalogues.Catalogue(
            {"same": "same", "both": "a b c d e", "short": "two words", **messages}, 3, ("bad.mo",)
        )

    monkeypatch.setattr(catalogues, "catalogue", catalogue)


def test_it_runs_on_catalogues(said, tmp_path, capsys):
    classify_text.main(["--languages", "xx", "yy", "--out", str(tmp_path), *TINY, "--limit", "24"])
    shown = capsys.readouterr().out
    assert "2 catalogues cannot be read" in shown
    # Neither what both say nor what is too short.
    assert "64 sentences to train on, 16 to score on, 2 classes" in shown
    assert "sentences are longer than 24 characters" in shown
    assert "naive Bayes, bag of characters" in shown
    record = json.loads((tmp_path / "results.json").read_text())
    assert np.sum(record["runs"][0]["confusion"]) == 16
    assert (tmp_path / "classify_text.png").read_bytes().startswith(b"\x89PNG")


def test_sentences_of_ones_own(files, tmp_path, capsys):
    options = files(sentiment(60, 0), sentiment(20, 1))
    # Four of one class and three of the other: a tenth of sixty has no sevenths.
    lines = sorted(sentiment(40, 2).splitlines())
    (tmp_path / "c.tsv").write_text("\n".join([*lines[:4], *lines[-3:]]))
    options += ["--validation", str(tmp_path / "c.tsv"), "--units", "words"]
    classify_text.main([*options, *TINY, "--steps", "4", "--evaluate-every", "2"])
    shown = capsys.readouterr().out
    assert "60 sentences to train on, 20 to score on, 2 classes" in shown
    assert "bag of words" in shown
    record = json.loads((tmp_path / "out/results.json").read_text())
    assert record["settings"]["validation"].endswith("c.tsv")
    sevenths = np.array(record["runs"][0]["validation"]) * 7
    assert len(sevenths) == 2
    np.testing.assert_allclose(sevenths, sevenths.round(), atol=1e-4)


@pytest.mark.slow
def test_it_learns_sentiment_with_no_other_change_than_the_files(files, tmp_path):
    classify_text.main(
        [
            *files(sentiment(7000, 0), sentiment(1000, 1)),
            "--units",
            "words",
            "--seeds",
            "1",
            "--steps",
            "700",
        ]
    )
    record = json.loads((tmp_path / "out/results.json").read_text())
    bag = next(row["value"] for row in record["tables"][0]["rows"] if "bag of words" in row["name"])
    # 0.95 at best; a bag does not see what is negated.
    assert record["runs"][0]["accuracy"] > max(0.85, bag + 0.03)


def test_naive_bayes_by_hand():
    train, labels = [["a", "a", "b"], ["b", "c"]], np.array([0, 1])
    # P(a|0) = 3/10, P(a|1) = 1/9; with the four special tokens counted once each
    assert classify_text.naive_bayes(
        train, labels, [["a"], ["c"], ["a", "c", "c"]], 2
    ).tolist() == [0, 1, 1]
    assert classify_text.in_threes(list("ab")) == [" ab", "ab "]


GOOD = "a\tone two\nb\tthree four\n" * 15


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("", GOOD, "a.tsv: got an empty file"),
        (GOOD, "", "b.tsv: got an empty file"),
        ("a\tone\n" * 30, GOOD, "every sentence is of class a; need two"),
        (GOOD + "no tab here\n", GOOD, r"a.tsv: line 31 is not label<TAB>text: 'no tab here'"),
        (GOOD, "\n\tno label\n", "b.tsv: line 2 is not"),
        (GOOD + "a\t\n", GOOD, "a.tsv: line 31 is not"),
        (GOOD.encode() + b"a\tma\xf1ana\n", GOOD, "a.tsv: got the byte 0xf1 in line 31"),
        (GOOD, "c\tnew\n", "class c does not occur"),
        ("a\tone\nb\ttwo\n", GOOD, "2 sentences are too few"),
    ],
)
def test_bad_input_gets_one_line(files, train, test, message):
    with pytest.raises(SystemExit) as caught:
        classify_text.main([*files(train, test), *TINY])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_that_do_not_go_together(tmp_path):
    with pytest.raises(SystemExit, match="--train and --test go together"):
        classify_text.main(["--train", "a", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="--validation goes with --train and --test"):
        classify_text.main(["--validation", "a", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="need two classes at least"):
        classify_text.main(["--languages", "it", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="the language 'xx'"):
        classify_text.main(["--languages", "it", "xx", "--out", str(tmp_path)])
