"""Translation with attention: the example from end to end."""

import json

import numpy as np
import pytest

from helpers.running import example
from jaxrnn import data

translate = example("translate")
TINY = [
    "--hidden",
    "8",
    "--embed",
    "4",
    "--batch",
    "16",
    "--steps",
    "4",
    "--beams",
    "2",
    "--buckets",
    "1",
]
WORDS = {
    "open": "apri",
    "close": "chiudi",
    "the": "il",
    "file": "file",
    "window": "finestra",
    "new": "nuovo",
    "last": "ultimo",
    "door": "porta",
}


@pytest.fixture
def pairs(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "pairs.txt"
    rows = {tuple(rng.choice(list(WORDS), rng.integers(2, 7))) for _ in range(220)}
    path.write_text(
        "".join(f"{' '.join(r)}\t{' '.join(WORDS[w] for w in r)}\n" for r in sorted(rows)),
        encoding="utf-8",
    )
    return path


@pytest.mark.slow
def test_it_learns_scores_and_translates(pairs, tmp_path, capsys):
    options = [*TINY, "--out", str(tmp_path / "out")]
    translate.main(
        [*options, "--pairs", str(pairs), "--keep", str(tmp_path / "kept" / "translate")]
    )
    said = capsys.readouterr().out
    assert "the source, copied" in said
    assert "the most similar sentence's" in said
    record = json.loads((tmp_path / "kept" / "translate.json").read_text())
    run = record["runs"][0]
    assert 0 <= run["bleu"] <= 100
    example = run["examples"][0]
    assert (
        np.shape(example["look"]) == (len(example["said"]) + 1, len(example["source"]))
        or len(example["said"]) > 9
    )
    np.testing.assert_allclose(np.sum(example["look"], -1), 1, atol=0.01)
    assert (tmp_path / "kept" / "translate.png").read_bytes().startswith(b"\x89PNG")
    translate.main([*options, "--say", "open the door", "Close the unheard"])
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert (tmp_path / "out" / "say.png").exists()
    with pytest.raises(SystemExit, match="11 words; need 1 to 10"):
        translate.main([*options, "--say", "open " * 11])


def test_sentences_that_differ_in_marks_alone_are_on_one_side():
    rows = [
        (translate.units(s), ("x",))
        for s in ("Open file 3!", "open FILE 12", "open, file", "close file 3")
    ]
    place = {source: i for i, part in enumerate(translate.split(rows)) for source, _ in part}
    assert len({place[source] for source, _ in rows[:3]}) == 1
    many = [
        ((f"{a}{b}", "word"), ("x",))
        for a in "abcdefghijklmnopqrst"
        for b in "abcdefghijklmnopqrstuvwxyz"
    ]
    sizes = [len(part) / len(many) for part in translate.split(many)]
    np.testing.assert_allclose(sizes, [0.81, 0.09, 0.1], atol=0.04)


def test_words_elide_and_the_nearest_is_found():
    assert translate.units("Errore dell’utente: 3") == ("errore", "dell'", "utente", ":", "3")
    train = [(("open", "the", "file"), ("a",)), (("close", "it"), ("b",))]
    vocabulary = data.Vocabulary.of(source for source, _ in train)
    assert translate.nearest(train, [("close", "them"), ("open", "a", "file")], vocabulary) == [
        ("b",),
        ("a",),
    ]
    assert translate.scores([("a", "b")], [("a", "b")])["tokens"] == 1


def test_bad_input_is_one_line(pairs, tmp_path, monkeypatch):
    def refused(*options):
        with pytest.raises(SystemExit) as caught:
            translate.main([*TINY, "--out", str(tmp_path / "bad"), *options])
        return str(caught.value)

    def file(content):
        (tmp_path / "bad.txt").write_bytes(content)
        return "--pairs", str(tmp_path / "bad.txt")

    assert "line 1" in refused(*file(b"caf\xe9\tcoffee\n"))
    assert "empty" in refused(*file(b"")).lower()
    assert "line 2: 'no tab here'; need source<TAB>target" in refused(
        *file(b"a b\tc d\nno tab here\n")
    )
    assert "longer than --most 10" in refused(*file(b"a b\tc d\n" + b"a " * 11 + b"\tb\n"))
    assert "2 pairs; need at least 100" in refused(*file(b"a b\tc d\nb c\td\n"))
    assert "holds no run" in refused("--say", "open the file")
    assert "'xx'" in refused("--target", "xx")
    monkeypatch.setattr("support.catalogues.catalogue_roots", list)
    assert "pip install django" in refused()


@pytest.mark.slow
def test_it_learns_a_dictionary(pairs, tmp_path):
    rng, path = np.random.default_rng(1), tmp_path / "many.txt"
    rows = sorted({tuple(rng.choice(list(WORDS), rng.integers(2, 7))) for _ in range(3000)})
    path.write_text(
        "".join(f"{' '.join(r)}\t{' '.join(WORDS[w] for w in r)}\n" for r in rows), encoding="utf-8"
    )
    translate.main(
        [
            "--pairs",
            str(path),
            "--steps",
            "500",
            "--hidden",
            "64",
            "--embed",
            "32",
            "--dropout",
            "0.1",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    assert json.loads((tmp_path / "out" / "results.json").read_text())["runs"][0]["tokens"] > 0.9
