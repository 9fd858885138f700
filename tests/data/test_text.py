"""Vocabularies, files of text, message catalogues."""

import json
import pickle
import struct

import numpy as np
import pytest

from jaxrnn import data
from support import catalogues
from support.catalogues import read_catalogue


def test_a_vocabulary_round_trips():
    rows = ["banana", "band", "x"]
    vocabulary = data.Vocabulary.of(rows)
    assert vocabulary.known == ("a", "n", "b", "d", "x")  # by frequency, then by name
    for row in rows:
        tokens = vocabulary.encode(row, start=True, end=True)
        assert tokens.dtype == np.int32
        assert (tokens[0], tokens[-1]) == (vocabulary.START, vocabulary.END)
        assert "".join(vocabulary.decode(tokens)) == row
        # Nothing after END.
        assert "".join(vocabulary.decode([*tokens, 4, 5, vocabulary.PAD])) == row
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.encode("xz").tolist() == [8, vocabulary.UNKNOWN]
    assert vocabulary.decode([1], unknown="#") == ["#"]
    assert data.Vocabulary.of(rows, least=2).known == ("a", "n", "b")
    assert data.Vocabulary.of(rows, most=1).known == ("a",)


def test_a_vocabulary_is_a_value():
    one, two = data.Vocabulary.of(["ab"]), data.Vocabulary.of(["ba"])
    one.encode("a")
    assert (one, hash(one)) == (two, hash(two))
    assert data.Vocabulary(tuple(json.loads(json.dumps(list(one.known))))) == one
    assert pickle.loads(pickle.dumps(one)) == one


def test_text_that_is_not_utf8_is_refused_by_file_and_line(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("uno\ndos\nma\xf1ana\n".encode("latin1"))
    with pytest.raises(ValueError, match=r"latin\.txt: got the byte 0xf1 in line 3"):
        data.read_lines(path)
    path.write_bytes(b" \n\n")
    with pytest.raises(ValueError, match="an empty file"):
        data.read_text(path)
    path.write_bytes("\ufeffone\r\n\ntwo\u2028still\n".encode())
    assert data.read_lines(path) == ["one", "", "two\u2028still"]


def compiled(pairs, charset="utf-8", order="<"):
    """A .mo file."""
    header = ("", f"Content-Type: text/plain; charset={charset}\n")
    pairs = sorted((s.encode(charset), t.encode(charset)) for s, t in [header, *pairs])
    n = len(pairs)
    tables, strings, at = [b"", b""], b"", 28 + 16 * n
    for column in (0, 1):
        for pair in pairs:
            tables[column] += struct.pack(order + "2I", len(pair[column]), at + len(strings))
            strings += pair[column] + b"\0"
    return (
        struct.pack(order + "7I", 0x950412DE, 0, n, 28, 28 + 8 * n, 0, 0)
        + tables[0]
        + tables[1]
        + strings
    )


@pytest.mark.parametrize(("charset", "order"), [("utf-8", "<"), ("latin1", ">")])
def test_catalogues(tmp_path, charset, order):
    folder = tmp_path / "es" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    pairs = [
        ("Open file", "Abrir ñandú"),
        ("month\x04May", "mayo"),
        ("one file\0many files", "un fichero\0muchos ficheros"),
        ("none", ""),
    ]
    (folder / "a.mo").write_bytes(compiled(pairs, charset, order))
    (folder / "b.mo").write_bytes(compiled([("Open file", "second")]))
    (folder / "c.mo").write_bytes(b"nonsense")
    (folder / "d.mo").write_bytes(compiled(pairs, charset, order)[:-40])
    (folder / "e.mo").write_bytes(
        compiled([("a", "ñ")], "latin1").replace(b"charset=latin1", b"charset=utf-8\n")
    )
    held = catalogues.catalogue("es", [tmp_path])
    assert held.messages == {
        "Open file": "Abrir ñandú",
        "May": "mayo",
        "one file": "un fichero",
        "many files": "muchos ficheros",
    }
    assert held.files == 5
    assert [path[-4:] for path in held.unreadable] == ["c.mo", "d.mo", "e.mo"]
    assert catalogues.catalogue_languages([tmp_path]) == ["es"]
    with pytest.raises(ValueError, match=r"language 'xx'.*need one of es"):
        catalogues.catalogue("xx", [tmp_path])


@pytest.mark.parametrize(
    ("count", "sources", "translations", "words"),
    [
        (2**32 - 1, 28, 44, "table beyond"),
        (2, 2**32 - 1, 44, "table beyond"),
        (2, 28, 2**31, "table beyond"),
        (1000, 28, 28, "table beyond"),
    ],
)
def test_catalogues_with_absurd_numbers_are_refused_at_once(count, sources, translations, words):
    content = bytearray(compiled([("a", "b")]))
    struct.pack_into("<3I", content, 8, count, sources, translations)
    with pytest.raises(ValueError, match=words):
        read_catalogue(bytes(content))
    for size in range(20):
        with pytest.raises(ValueError, match=r"not a compiled|no header"):
            read_catalogue(bytes(content[:size]))


def test_catalogues_are_read_up_to_a_limit(tmp_path, monkeypatch):
    """Strings may overlap: a small file can name any number of bytes."""
    monkeypatch.setattr(catalogues, "LIMIT", 4000)
    n, long = 100, 1000
    table = struct.pack("<2I", long, 28 + 8 * n) * n
    content = struct.pack("<7I", 0x950412DE, 0, n, 28, 28, 0, 0) + table + b"a" * long
    assert len(content) < 4000
    with pytest.raises(ValueError, match="strings of more than"):
        read_catalogue(content)
    folder = tmp_path / "es" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "a.mo").write_bytes(compiled([("a b", "c" * 5000)]))
    assert len(catalogues.catalogue("es", [tmp_path]).unreadable) == 1


def test_the_catalogues_of_python_gettext_read_alike(tmp_path):
    import gettext

    path = tmp_path / "a.mo"
    path.write_bytes(compiled([("Open file", "Abrir ñandú"), ("b", "c")]))
    with path.open("rb") as file:
        theirs = gettext.GNUTranslations(file)
    ours = read_catalogue(path.read_bytes())
    assert ours == {source: theirs.gettext(source) for source in ours}


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("_Open the  file", "Open the file"),
        ("Save &As", "Save As"),
        ("Abrir (_O) fichero", "Abrir fichero"),
        ("Datei ö_ffnen", "Datei öffnen"),
        ("%d files", ""),
        ("use --help now", ""),
        ("see file.txt there", ""),
        ("one", ""),
        ("<b>so it</b> is", ""),
        ("a b c", ""),
    ],
)
def test_plain_sentences(message, sentence):
    assert catalogues.plain(message) == sentence
