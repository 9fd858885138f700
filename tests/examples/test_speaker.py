"""The example of many to one, ragged: end to end with few steps, on data of one's own,
and what it refuses."""

import json

import numpy as np
import pytest

from helpers.running import example

speaker = example("speaker")


def write(path, rows):
    """A .ts file of (channels, label)."""
    lines = [
        ":".join([",".join(map(str, channel)) for channel in channels] + [label])
        for channels, label in rows
    ]
    path.write_text("#about\n@problemName toy\n@data\n" + "\n".join(lines) + "\n")
    return str(path)


def rows(count, seed):
    """Two classes that differ in the sign of the first channel, 3 to 6 steps."""
    random = np.random.default_rng(seed)
    made = []
    for i in range(count):
        steps = random.normal(size=(2, random.integers(3, 7))).round(3)
        steps[0] = np.abs(steps[0]) * (1 if i % 2 else -1)
        made.append((steps.tolist(), "yes" if i % 2 else "no"))
    return made


@pytest.mark.slow
def test_it_runs_on_japanese_vowels(tmp_path, capsys):
    pytest.importorskip("sktime")
    options = [
        "--out",
        str(tmp_path),
        "--steps",
        "3",
        "--hidden",
        "3",
        "--seeds",
        "1",
        "--validate",
    ]
    speaker.main(options)
    shown = capsys.readouterr().out
    assert "JapaneseVowels: 270 sequences of 7 to 26 steps, 9 classes; scored on a fifth" in shown
    record = json.loads((tmp_path / "results.json").read_text())
    assert np.sum(record["runs"][0]["confusion"]) == 54
    assert (tmp_path / "speaker.png").read_bytes().startswith(b"\x89PNG")


def test_the_test_set_is_the_published_one(tmp_path):
    pytest.importorskip("sktime")
    args = speaker.parser().parse_args([])
    train, test, classes, _ = speaker.load(args)
    assert (len(train.xs), len(test.xs), len(classes)) == (270, 370, 9)
    assert (min(map(len, test.xs)), max(map(len, test.xs)), test.xs[0].shape[1]) == (7, 29, 12)
    assert np.bincount(test.labels).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    fold = speaker.folds(train.labels)
    assert all(np.bincount(train.labels[fold == k]).tolist() == [6] * 9 for k in range(5))


@pytest.mark.slow
def test_it_learns_files_of_ones_own(tmp_path, capsys):
    files = [
        "--train",
        write(tmp_path / "a.ts", rows(40, 0)),
        "--test",
        write(tmp_path / "b.ts", rows(20, 1)),
    ]
    speaker.main(
        [
            *files,
            "--out",
            str(tmp_path / "out"),
            "--steps",
            "40",
            "--hidden",
            "6",
            "--seeds",
            "1",
            "--batch",
            "16",
            "--offset",
            "0",
        ]
    )
    assert json.loads((tmp_path / "out/results.json").read_text())["runs"][0]["accuracy"] > 0.9
    assert "published" not in capsys.readouterr().out


@pytest.mark.slow
def test_it_learns_speakers(tmp_path):
    pytest.importorskip("sktime")
    speaker.main(
        ["--out", str(tmp_path), "--steps", "150", "--hidden", "16", "--seeds", "1", "--validate"]
    )
    assert json.loads((tmp_path / "results.json").read_text())["runs"][0]["accuracy"] > 0.85


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (b"", b"", "an empty file"),
        (b"@data\n1,2:a\n\xe9,2:b\n", b"", "the byte 0xe9 in line 3"),
        (b"1,2:a\n", b"", "no sequences; need a file in the .ts format"),
        (b"@data\n1,2:a\n3,4:a\n", b"", "every sequence is of class a"),
        (b"@data\n1,2:a\n1,x:b\n", b"", "line 3 is not channels of numbers"),
        (b"@data\n1,2:a\n1,2:3,4:b\n", b"", "line 3 has 2 channels; the lines before have 1"),
        (b"@data\n1,2:a\n1,2:b\n", b"@data\n1,2:c\n", "class c does not occur"),
        (b"@data\n1,2:a\n1,2:b\n", b"@data\n1,2:1,2:b\n", "2 channels; "),
        (b"@data\n1,2:a\n1,2:b\n", None, "No such file"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, train, test, message):
    for name, content in (("a.ts", train), ("b.ts", test)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit) as caught:
        speaker.main(
            [
                "--train",
                str(tmp_path / "a.ts"),
                "--test",
                str(tmp_path / "b.ts"),
                "--out",
                str(tmp_path / "out"),
            ]
        )
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_train_and_test_go_together(tmp_path):
    with pytest.raises(SystemExit, match="--train and --test go together"):
        speaker.main(["--train", "a.ts", "--out", str(tmp_path)])
