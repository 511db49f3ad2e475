"""Readers of plain tables and of LLP: hand-written damage, and every damage of the real files by file and line."""

from pathlib import Path

import pytest
import torch

from mediakit.errors import MediaError, MediakitError
from mediakit.parsing.annotations.classes import CLASS_LISTS, class_names, nearest_class
from mediakit.parsing.annotations.delimited import read_rows
from mediakit.parsing.annotations.tables import covered, read_folder, read_llp
from mediakit.synthetic.events import EventClips

PETS = ("Dog", "Cat", "Bird")


def write(folder: Path, **tables: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in tables.items():
        (folder / f"{name}.csv").write_bytes(text.encode())
    return folder


def lines(annotations, word: str, file: str = "") -> list[int]:
    """Lines of the findings about something."""
    return [f.line for f in annotations.findings if word in f.problem and Path(f.file).name.startswith(file)]


WEAK = "filename\tevent_labels\na\tDog,Cat\nb\tBird\n"
AUDIO = "filename\tonset\toffset\tevent_labels\na\t0\t2\tDog\na\t3\t4\tCat\n"
VISUAL = "filename\tonset\toffset\tevent_labels\na\t1\t3\tDog\nb\t4\t5\tBird\n"


def test_plain_tables_by_hand(tmp_path):
    found = read_folder(write(tmp_path, weak=WEAK, audio=AUDIO, visual=VISUAL), PETS)
    assert (found.ids, found.classes, found.findings) == (("a", "b"), PETS, ())
    assert found.labels.tolist() == [[1, 1, 0], [0, 0, 1]]
    assert found.seconds.tolist() == [4, 5]
    assert found.audio.dtype == torch.uint8
    assert found.audio[0].tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert not found.audio[1].any()
    assert found.visual[..., 0].tolist() == [[0, 1, 1, 0, 0], [0] * 5]
    assert found.visual[1].sum() == found.visual[1, 4, 2] == 1
    weak_only = read_folder(write(tmp_path / "weak", weak=WEAK), PETS)
    assert weak_only.audio is weak_only.visual is weak_only.seconds is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", "\n\n").rstrip("\n"),
        lambda text: text.replace("\t", ";"),
        lambda text: text.replace("\t", " , "),
        lambda text: text.replace("\t", ","),
        lambda text: text.replace("Dog,Cat", '"Dog,Cat"').replace("\t", ", "),
        lambda text: "\n".join(
            '"' + line.replace("\t", '"\t"') + '"\tnote' if line else "" for line in text.split("\n")
        ),
    ],
    ids=[
        "bom",
        "crlf",
        "cr",
        "empty-lines",
        "semicolons",
        "commas-and-blanks",
        "commas",
        "quoted-after-blank",
        "quoted-with-extra-column",
    ],
)
def test_dialects_read_alike(tmp_path, change):
    expected = read_folder(write(tmp_path / "plain", weak=WEAK, audio=AUDIO, visual=VISUAL), PETS)
    found = read_folder(write(tmp_path / "x", weak=change(WEAK), audio=change(AUDIO), visual=change(VISUAL)), PETS)
    assert found.ids == expected.ids
    assert found.findings == ()
    for name in ("labels", "audio", "visual"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


def test_columns_by_name_in_utf_16(tmp_path):
    path = tmp_path / "weak.csv"
    path.write_text("event_labels\tcomment\tfilename\nDog\té\ta\n", encoding="utf-16")
    rows, findings = read_rows(path, ("filename", "event_labels"))
    assert ([row.values for row in rows], findings) == ([("a", "Dog")], [])


def test_missing_header_is_a_finding(tmp_path):
    found = read_folder(write(tmp_path, weak="a\tDog\nb\tCat\n"), PETS)
    assert found.ids == ("a", "b")
    assert lines(found, "no header") == [1]


def test_damaged_rows_are_named_and_left_out(tmp_path):
    weak = (
        "filename\tevent_labels\n"
        "a\tDog\n"
        "a\tCat\n"  # 3: again
        "b\tBird\textra\n"  # 4: three columns
        '"c\tBird\n'  # 5: a quote that does not close
        "\tBird\n"  # 6: no name
        "d\tBird,Bird,\n"  # 7: twice
        "e\t\n"  # 8: no class
    )
    audio = (
        "filename\tonset\toffset\tevent_labels\n"
        "a\t0\tx\tDog\n"  # 2: no time
        "a\t0\tnan\tDog\n"  # 3
        "a\t0\t1e9\tDog\n"  # 4
        "a\t2\t2\tDog\n"  # 5: no second
        "a\t3\t1\tDog\n"  # 6: reversed
        "z\t0\t1\tDog\n"  # 7: unknown
        "Dog\t0\t1\tDog\n"  # 8: a class
        "d`\t0\t1\tDog\n"  # 9: stray character
        "a\t0\t4\tCat\n"
        "a\t3\t5\tCat\n"  # 11: overlap
        "a\t5\t6\tCat\n"  # touches, which is no damage
        "a\t-2\t1\tBird\n"  # 13: before the video
        "d\t0\t1\t\n"  # 14: no class
        "d\t0\t1\tDog,Cat\n"  # two classes are fine
    )
    found = read_folder(write(tmp_path, weak=weak, audio=audio, visual=VISUAL.replace("\nb", "\na")), PETS)
    assert found.ids == ("a", "d", "e")
    assert found.labels.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    for word, expected in (
        ("lists a again (line 2)", [3]),
        ("3 columns where 2 belong", [4]),
        ("quotes", [5]),
        ("no filename", [6]),
        ("names Bird twice", [7]),
        ("gives e no class", [8]),
    ):
        assert lines(found, word, "weak") == expected, word
    for word, expected in (
        ("are no seconds", [2, 3, 4]),
        ("lasts no second", [5]),
        ("ends before it begins", [6]),
        ("z is in no table", [7]),
        ("the class Dog stands where a video belongs", [8]),
        ("d` is d with a stray character", [9]),
        ("overlaps with 0 to 4 (line 10)", [11]),
        ("leaves the video", [13]),
        ("names no class", [14]),
    ):
        assert lines(found, word, "audio") == expected, word
    assert len(found.findings) == 6 + 11
    assert all(finding.done for finding in found.findings)
    assert found.seconds.tolist() == [6, 1, 1]
    assert found.audio[0].T.tolist() == [[0] * 6, [1] * 6, [1, 0, 0, 0, 0, 0]]
    assert found.audio[1, 0].tolist() == [1, 1, 0]


def test_events_beyond_the_video_are_cut(tmp_path):
    found = read_folder(write(tmp_path, weak=WEAK, audio=AUDIO, visual=VISUAL), PETS, segments=3)
    assert found.audio.shape == (2, 3, 3)
    assert lines(found, "leaves the video, which has 3 seconds") == [3, 3]
    assert not found.audio[0, :, 1].any()


def test_unknown_class_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(MediaError, match=r"weak\.csv: line 2 names the unknown class 'dog'\. Is it Dog\?"):
        read_folder(write(tmp_path, weak="filename\tevent_labels\na\tdog\n"), PETS)
    with pytest.raises(MediaError, match=r"audio\.csv: line 3 names the unknown class 'Whale'\. The 3 classes begin"):
        read_folder(write(tmp_path, weak=WEAK, audio=AUDIO.replace("\tCat", "\tWhale"), visual=VISUAL), PETS)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, r"weak\.csv: does not exist"),
        ({"weak": ""}, r"weak\.csv: is empty"),
        ({"weak": "filename\tevent_labels\n"}, r"weak\.csv: lists no video"),
        ({"weak": "filename\tlabel\na\tDog\n"}, r"weak\.csv: line 1 names no column 'event_labels'"),
        ({"weak": WEAK, "audio": AUDIO}, r"holds audio\.csv alone"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, tables, message):
    with pytest.raises(MediaError, match=message):
        read_folder(write(tmp_path, **tables), PETS)


def test_wrong_encoding_names_the_line(tmp_path):
    (tmp_path / "weak.csv").write_bytes("filename\tevent_labels\na\tDog\nvidéo\tCat\n".encode("latin-1"))
    with pytest.raises(MediaError, match=r"is not text in UTF-8 \(line 3\)"):
        read_folder(tmp_path, PETS)


def test_names_with_commas_are_whole_names(tmp_path):
    text = "filename\tevent_labels\na\tBark,Male speech, man speaking,Cat\n"
    found = read_folder(write(tmp_path, weak=text), "ave")
    names = [found.classes[k] for k in found.labels[0].nonzero()[:, 0]]
    assert names == ["Male speech, man speaking", "Bark", "Cat"]


@pytest.mark.parametrize(
    ("onset", "offset", "seconds"),
    [
        (0, 10, range(10)),
        (3, 4, [3]),
        (0.4, 2.6, [0, 1, 2]),
        (0.6, 2.4, [1]),
        (0.5, 1.5, [0]),
        (1.1, 1.3, [1]),
        (1.8, 2.3, [2]),
        (3, 3, []),
        (4, 2, []),
    ],
)
def test_seconds_an_event_covers(onset, offset, seconds):
    assert list(covered(onset, offset)) == list(seconds)


def test_covered_seconds_are_those_whose_middle_is_inside():
    draw = torch.Generator().manual_seed(0)
    for onset, length in (torch.rand(500, 2, generator=draw, dtype=torch.float64) * 6).tolist():
        middles = [second for second in range(12) if onset <= second + 0.5 < onset + length]
        assert list(covered(onset, onset + length)) == (middles or [int(onset + length / 2)])


def test_class_lists():
    assert {name: len(names) for name, names in CLASS_LISTS.items()} == {
        "llp": 25,
        "ave": 28,
        "unav": 100,
        "events": 12,
    }
    assert all(len(set(names)) == len(names) for names in CLASS_LISTS.values())
    llp, ave, unav = (CLASS_LISTS[name] for name in ("llp", "ave", "unav"))
    assert [llp.index(n) for n in ("Speech", "Frying_(food)", "Banjo", "Helicopter", "Clapping")] == [0, 5, 10, 19, 24]
    assert [ave.index(n) for n in ("Church bell", "Male speech, man speaking", "Mandolin")] == [0, 1, 27]
    assert [unav.index(n) for n in ("man speaking", "cat meowing", "sailing", "hair dryer drying")] == [0, 22, 55, 99]
    assert class_names("llp") == llp
    assert class_names(["x", "y"]) == ("x", "y")
    assert nearest_class("frying food", llp) == "Frying_(food)"
    assert nearest_class("xylophone", llp) is None
    for wrong in ("lpp", [], ["a", "a"], ["a", ""]):
        with pytest.raises(MediakitError):
            class_names(wrong)


def test_generated_clips_come_back(tmp_path):
    generator = EventClips(seed=3, seconds=6)
    clips = [generator.clip(index) for index in range(8)]
    for name, text in generator.tables(clips).items():
        (tmp_path / name).write_text(text)
    found = read_folder(tmp_path, "events", segments=6)
    assert found.ids == tuple(clip.id for clip in clips)
    assert not lines(found, "") or all("overlaps" in finding.problem for finding in found.findings)
    for n, clip in enumerate(clips):
        assert torch.equal(found.audio[n], clip.labels().audio)
        assert torch.equal(found.visual[n], clip.labels().visual)
        assert torch.equal(found.labels[n], (found.audio[n] | found.visual[n]).amax(0))


AUDIO_STRAYS = [19, 20, 53, 54, 60, 64, 65, 66, 91, 92, 1007, 1008, 3046, 3790]
VISUAL_STRAYS = [11, 31, 32, 39, 55, 56, 620, 621, 1879, 1880, 2302]


@pytest.fixture(scope="module")
def llp(shared_data) -> Path:
    return shared_data / "llp"


@pytest.fixture(scope="module")
def llp_test(llp):
    return read_llp(llp, "test")


def test_llp_splits(llp, llp_test):
    train, val = read_llp(llp, "train"), read_llp(llp, "val")
    assert [len(found.ids) for found in (train, val, llp_test)] == [10_000, 649, 1_200]
    assert not set(train.ids) & set(val.ids) | set(val.ids) & set(llp_test.ids) | set(train.ids) & set(llp_test.ids)
    assert train.audio is train.visual is None
    assert train.findings == ()
    assert llp_test.audio.shape == llp_test.visual.shape == (1_200, 10, 25)
    assert llp_test.source == "LLP test, events of 2020"
    assert all(found.labels.any(1).all() for found in (train, val, llp_test))


def test_llp_damage_of_the_test_split_by_line(llp_test):
    assert lines(llp_test, "Clapping twice", "AVVP_test_pd") == [894]
    audio, visual = "AVVP_eval_audio", "AVVP_eval_visual"
    assert lines(llp_test, "the class Baby_cry_infant_cry stands where a video belongs", audio) == [930, 931]
    assert lines(llp_test, "KvIjsmANkxI_10_20` is KvIjsmANkxI_10_20 with a stray character", audio) == [2449]
    assert lines(llp_test, "is in no table", audio) == AUDIO_STRAYS
    assert lines(llp_test, "is in no table", visual) == VISUAL_STRAYS
    assert lines(llp_test, "lasts no second", audio) == [48, 66, 100, 129, 137]
    assert lines(llp_test, "overlaps", audio) == [
        *(223, 224, 289, 791, 1151, 1319, 1678, 1679, 1917, 1930, 1931, 1942, 1943, 2163, 2244)
    ]
    assert not lines(llp_test, "overlaps", visual)
    assert len(llp_test.findings) == 1 + 2 + 1 + 14 + 11 + 5 + 15


def test_llp_damage_of_the_validation_split(llp):
    found = read_llp(llp, "val")
    assert lines(found, "ends before it begins") == [3770]
    assert lines(found, "overlaps") == [3404, 3444, 3472, 3553, 3554, 4005, 4006]
    assert lines(found, "is in no table", "AVVP_eval_audio") == AUDIO_STRAYS
    assert lines(found, "lasts no second") == [66]


def test_llp_2024_mends_two_test_videos(llp, llp_test):
    mended = read_llp(llp, "test", "2024")
    assert mended.source == "LLP test, events of 2024"
    assert not lines(mended, "stray") + lines(mended, "where a video belongs")
    assert len(mended.findings) == len(llp_test.findings) - 3
    changed = (mended.audio != llp_test.audio).flatten(1).any(1)
    assert {llp_test.ids[n] for n in changed.nonzero()[:, 0]} == {"JfZEqeLZqWk_30_40", "KvIjsmANkxI_10_20"}
    assert torch.equal(mended.visual, llp_test.visual)


@pytest.mark.parametrize("split", ["val", "test"])
def test_llp_truth_as_the_authors_evaluation_fills_it(llp, split):
    """Their rule: of the rows whose name equals the video's, set label[onset:offset], in any order."""
    found = read_llp(llp, split)
    for truth, file in ((found.audio, "AVVP_eval_audio.csv"), (found.visual, "AVVP_eval_visual.csv")):
        rows = [line.split("\t") for line in (llp / file).read_text().splitlines()[1:]]
        expected = torch.zeros_like(truth)
        row = {id: n for n, id in enumerate(found.ids)}
        for name, onset, offset, label in rows:
            if name in row:
                expected[row[name], int(onset) : int(offset), CLASS_LISTS["llp"].index(label)] = 1
        assert torch.equal(truth, expected)


def test_llp_wants_its_names(llp, tmp_path):
    with pytest.raises(ValueError, match="splits train, val, test"):
        read_llp(llp, "dev")
    with pytest.raises(ValueError, match="2021"):
        read_llp(llp, "test", "2021")
    with pytest.raises(MediaError, match=r"AVVP_train\.csv: does not exist"):
        read_llp(tmp_path, "test")


def test_llp_rows_of_other_splits_and_fractions(tmp_path):
    head = "filename\tevent_labels\n"
    files = {
        "AVVP_train.csv": head + "a\tDog\n",
        "AVVP_val_pd.csv": head + "b\tDog\n",
        "AVVP_test_pd.csv": head + "c\tDog\na\tDog\n",
        "AVVP_eval_audio.csv": "filename\tonset\toffset\tevent_labels\nb\t0\t1\tDog\nc\t0.5\t2\tDog\n",
        "AVVP_eval_visual.csv": "filename\tonset\toffset\tevent_labels\na\t0\t1\tDog\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = read_llp(tmp_path, "test", segments=4)
    assert lines(found, "a is in the train split, too", "AVVP_test") == [3]
    assert lines(found, "are no whole seconds", "AVVP_eval_audio") == [3]
    assert found.visual[1, 0].sum() == 1
    val = read_llp(tmp_path, "val", segments=4)
    assert val.audio[0, :, 3].tolist() == [1, 0, 0, 0]
    assert not lines(val, "c ")
