"""A folder of videos becomes a folder of pseudo-labels, whatever interrupts it."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_teachers import MEAN, STD, write_clap_teacher, write_clip_teacher

from mediakit.cli import main
from mediakit.encoders.backbones import import_torchvision
from mediakit.errors import MediakitError
from mediakit.io import Audio, read_audio, read_video, write_audio, write_video
from mediakit.jobs import JobError
from mediakit.parsing.feature_files import read_pseudo_labels
from mediakit.parsing.pseudo_labels import labelling
from mediakit.parsing.pseudo_labels.labelling import pseudo_label_folder
from mediakit.parsing.pseudo_labels.zero_shot import ClapTeacher, ClipTeacher
from mediakit.synthetic.corpus import generate_clips

CLASSES = ["dog", "rain_drops", "siren"]
RATE = 48_000


def film(path: Path, seconds: int, seed: int, sound: bool = True) -> None:
    """Pictures of 32 x 32, which the tiny CLIP sees as they are, one colour a second; a tone a second."""
    draw = torch.Generator().manual_seed(seed)
    colours = torch.randint(0, 256, (seconds, 3, 1, 1), dtype=torch.uint8, generator=draw)
    pitch = torch.randint(200, 5000, (seconds,), generator=draw).repeat_interleave(RATE)
    time = torch.arange(seconds * RATE) / RATE
    audio = Audio(0.3 * torch.sin(2 * torch.pi * pitch * time)[None], RATE, 0.0) if sound else None
    write_video(path, (colours[k // 5].expand(3, 32, 32) for k in range(5 * seconds)), 5, audio=audio)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    import_torchvision()
    for name in ("open_clip", "transformers"):
        pytest.importorskip(name, reason=f"{name} is not installed (extra pseudo)")
    folder = tmp_path_factory.mktemp("teachers")
    write_clip_teacher(folder / "clip")
    write_clap_teacher(folder / "clap")
    return {"clip_model": str(folder / "clip"), "clap_model": str(folder / "clap")}


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    """Two films, a silent one, a sound file, and their weak labels."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "videos" / "sub").mkdir(parents=True)
    film(folder / "videos" / "first.mp4", 3, 0)
    film(folder / "videos" / "sub" / "second.mp4", 2, 1)
    film(folder / "videos" / "silent.mp4", 2, 2, sound=False)
    write_audio(folder / "videos" / "song.wav", Audio(0.1 * torch.randn(1, RATE), RATE, 0.0))
    rows = ["first\tdog,siren", "sub/second\train_drops", "silent\tdog", "song\tdog,rain_drops,siren", "nowhere\tdog"]
    (folder / "weak.csv").write_text("\n".join(["filename\tevent_labels", *rows]) + "\n")
    return folder


@pytest.fixture
def own(media, tmp_path) -> Path:
    """A copy of the media that a test may change."""
    shutil.copytree(media, tmp_path / "media")
    return tmp_path / "media"


@pytest.fixture
def at_once(monkeypatch):
    """Runs jobs in this process, which spares the start of another one."""

    def run(function, items, *, initializer, initargs, **_):
        done.clear()
        for item in items:
            done.append(item.id)
            try:
                yield item, function(item)
            except MediakitError as error:
                yield item, JobError(str(error))

    done: list[str] = []
    monkeypatch.setattr(labelling, "run_jobs", run)
    return done


def label(folder: Path, out: Path, teachers: dict[str, str], **options):
    options = {"threshold_audio": 0.0, "threshold_visual": 0.0, "similarities": True} | options
    return pseudo_label_folder(folder / "videos", folder / "weak.csv", out, classes=CLASSES, **teachers, **options)


def content(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_the_labels_are_those_of_the_networks(media, teachers, tmp_path, at_once):
    found = label(media, tmp_path, teachers)
    assert (found.done, found.failed, found.unlabelled, found.missing) == (4, (), (), 1)
    # The same by hand: the picture in the middle of each second, and each second of sound.
    path = media / "videos" / "first.mp4"
    clip, clap = ClipTeacher(teachers["clip_model"]), ClapTeacher(teachers["clap_model"])
    frames = torch.stack([frame.image for frame in read_video(path, fps=1, start=0.5)])
    assert len(frames) == 3
    pixels = (frames / 255.0 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    sound = read_audio(path, rate=RATE, channels=1).waveform[:, : 3 * RATE].reshape(3, RATE)
    with torch.no_grad():
        seen = clip.network.encode_image(pixels).numpy()
        heard = torch.cat([clap(second[None])[0] for second in sound]).numpy()
    for modality, media_vectors, teacher, scale, prompt in (
        ("visual", seen, clip, clip.network.logit_scale, "A photo of {}."),
        ("audio", heard, clap, clap.network.logit_scale_a, "This is a sound of {}"),
    ):
        text = teacher.embed_text([prompt.format(name) for name in ("dog", "rain drops", "siren")]).numpy()
        cosine = media_vectors @ text.T / np.linalg.norm(media_vectors, axis=1)[:, None]
        values = np.load(tmp_path / "similarities" / modality / "first.npy")
        np.testing.assert_allclose(values, cosine * scale.exp().item(), atol=2e-3)
        labels = np.load(tmp_path / modality / "first.npy")
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, (values > 0) * np.array([1, 0, 1]))
    # What has no sound is not heard, what has no pictures is not seen.
    assert np.array_equal(np.load(tmp_path / "audio" / "silent.npy"), np.zeros((2, 3), np.uint8))
    assert np.array_equal(np.load(tmp_path / "visual" / "song.npy"), np.zeros((1, 3), np.uint8))
    assert not (tmp_path / "similarities" / "visual" / "song.npy").exists()
    lengths = {"first": 3, "sub/second": 2, "silent": 2, "song": 1}
    pairs, problems = read_pseudo_labels(tmp_path, lengths, 3)
    assert problems == []
    assert pairs["sub/second"][0].shape == (2, 3)


def test_the_manifest_says_what_made_them(media, teachers, tmp_path, at_once):
    label(media, tmp_path, teachers, threshold_visual={"siren": 3.0})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["schema"] == "mediakit.pseudo-labels/1"
    assert manifest["classes"] == CLASSES
    assert manifest["thresholds"] == {
        "audio": {"dog": 0.0, "rain_drops": 0.0, "siren": 0.0},
        "visual": {"dog": 15.0, "rain_drops": 15.0, "siren": 3.0},
    }
    assert manifest["teachers"]["visual"]["card"] == ClipTeacher(teachers["clip_model"]).card()
    assert manifest["teachers"]["audio"]["prompts"][1] == "This is a sound of rain drops"
    assert {"mediakit", "open_clip_torch", "transformers", "torch"} <= manifest["versions"].keys()
    assert manifest["files"]["silent"]["absent"] == {"audio": "has no sound"}
    assert manifest["files"]["first"]["weak"] == ["dog", "siren"]
    assert sum(manifest["files"]["first"]["kept"]["visual"].values()) == np.load(tmp_path / "visual/first.npy").sum()
    told = (tmp_path / "manifest.json").read_text()
    assert str(media) not in told
    assert str(tmp_path) not in told


def test_other_thresholds_and_labels_need_no_videos(own, teachers, tmp_path, at_once):
    label(own, tmp_path / "out", teachers)
    before = content(tmp_path / "out")
    (own / "weak.csv").write_text((own / "weak.csv").read_text().replace("first\tdog,siren", "first\train_drops,siren"))
    found = label(own, tmp_path / "out", teachers, threshold_audio=-1e3, threshold_visual=0.5)
    assert (found.done, found.resumed, found.relabelled) == (4, 0, 4)
    assert at_once == []
    assert np.load(tmp_path / "out" / "audio" / "first.npy").tolist() == [[0, 1, 1]] * 3
    label(own, tmp_path / "fresh", teachers, threshold_audio=-1e3, threshold_visual=0.5)
    after = content(tmp_path / "out")
    assert after == content(tmp_path / "fresh")
    assert all(after[name] == data for name, data in before.items() if name.startswith("similarities"))
    assert label(own, tmp_path / "out", teachers, threshold_audio=-1e3, threshold_visual=0.5).resumed == 4
    assert content(tmp_path / "out") == after


def test_videos_that_are_gone_keep_in_step(own, teachers, tmp_path, at_once):
    label(own, tmp_path / "out", teachers)
    (own / "videos" / "first.mp4").unlink()
    label(own, tmp_path / "out", teachers, threshold_audio=-1e3)
    assert np.load(tmp_path / "out" / "audio" / "first.npy").tolist() == [[1, 0, 1]] * 3
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["gone"] == ["first"]
    assert "first" not in manifest["files"]


def test_without_similarities_thresholds_are_fixed(media, teachers, tmp_path, at_once):
    label(media, tmp_path, teachers, similarities=False)
    assert not (tmp_path / "similarities").exists()
    before = content(tmp_path)
    with pytest.raises(MediakitError, match="have other thresholds, and not all of their similarities are there"):
        label(media, tmp_path, teachers, similarities=False, threshold_audio=1.0)
    assert content(tmp_path) == before
    assert label(media, tmp_path, teachers).relabelled == 0  # now the similarities are wanted: all is done again
    assert sorted(at_once) == ["first", "silent", "song", "sub/second"]
    label(media, tmp_path, teachers, threshold_audio=1.0)
    assert at_once == []


def test_an_interrupted_run_ends_as_one_in_peace(own, teachers, tmp_path, at_once):
    out = tmp_path / "out"
    label(own, out, teachers)
    whole = content(out)
    (out / ".records" / "first.json").unlink()  # killed before the record
    (out / "audio" / "silent.npy").unlink()  # lost
    (out / ".records" / "song.json").write_text("{")  # damaged
    (out / "visual" / ".0123456789abcdef.npy").write_bytes(b"half")  # killed in the middle
    found = label(own, out, teachers)
    assert (found.done, found.resumed) == (4, 1)
    assert sorted(at_once) == ["first", "silent", "song"]
    assert content(out) == whole
    film(own / "videos" / "sub" / "second.mp4", 3, 5)
    label(own, out, teachers)
    assert at_once == ["sub/second"]
    assert np.load(out / "visual" / "sub" / "second.npy").shape == (3, 3)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"prompt_audio": "hear {label}"},
            r"the audio prompts are others \('This is a sound of dog' there, 'hear dog'",
        ),
        ({"modalities": ("visual",)}, "holds audio and visual pseudo-labels, not visual"),
        ({"clap_model": "other"}, r"the audio pseudo-labels there were made by ClapTeacher .*\(sha256 \w+ there"),
    ],
)
def test_other_settings_are_refused(media, teachers, tmp_path, at_once, changes, problem):
    out = tmp_path / "out"
    label(media, out, teachers)
    before = content(out)
    if "clap_model" in changes:
        changes = {"clap_model": str(write_clap_teacher(tmp_path / "clap", seed=1))}
    with pytest.raises(MediakitError, match=rf"out: {problem}.*--overwrite"):
        label(media, out, teachers | changes)
    assert content(out) == before
    label(media, out, teachers | changes, overwrite=True)
    assert (out / "audio").exists() == ("modalities" not in changes)


def test_foreign_folders_are_left_alone(media, teachers, tmp_path, at_once):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "first.npy").write_bytes(b"mine")
    for overwrite in (False, True):
        with pytest.raises(MediakitError, match="audio: is there already, and not from `mediakit pseudo-label`"):
            label(media, tmp_path, teachers, overwrite=overwrite)
    (tmp_path / ".records").mkdir()
    (tmp_path / ".records" / ".settings.json").write_text('{"audio": {}}')  # as `mediakit extract` writes it
    for overwrite in (False, True):
        with pytest.raises(MediakitError, match="holds features, not pseudo-labels"):
            label(media, tmp_path, teachers, overwrite=overwrite)
    assert (tmp_path / "audio" / "first.npy").read_bytes() == b"mine"


def test_arguments_are_checked_before_the_networks(media, tmp_path):
    videos, weak = media / "videos", media / "weak.csv"
    for options, error, problem in (
        ({"modalities": ("smell",)}, ValueError, "modalities must be some of audio, visual"),
        ({"workers": 0}, ValueError, "workers must be at least 1"),
        ({"threshold_visual": {"cow": 1.0}}, MediakitError, "visual thresholds name a class 'cow'"),
        ({"prompt_visual": "dog"}, MediakitError, "lacks {label}"),
        ({"device": "nonsense"}, MediakitError, "device: 'nonsense' cannot be used here"),
    ):
        with pytest.raises(error, match=problem):
            pseudo_label_folder(videos, weak, tmp_path / "out", classes=CLASSES, **options)
    (tmp_path / "weak.csv").write_text("filename\tevent_labels\nlast\tdog\n")
    with pytest.raises(
        MediakitError, match=r"none of the videos in .* \(the labels name 'last', the videos are 'first'"
    ):
        pseudo_label_folder(videos, tmp_path / "weak.csv", tmp_path / "out", classes=CLASSES)
    with pytest.raises(MediakitError, match="is no folder of videos apart from the output"):
        pseudo_label_folder(videos, weak, videos, classes=CLASSES)
    assert not (tmp_path / "out").exists()


def test_the_command(own, teachers, tmp_path, capfd, request):
    """In a process of its own: one bad file costs one file, and what has no weak label is named."""
    cut = (own / "videos" / "first.mp4").read_bytes()
    (own / "videos" / "nowhere.mp4").write_bytes(cut[: len(cut) // 2])
    film(own / "videos" / "stranger.mp4", 1, 7)
    (own / "classes.txt").write_text("dog\nrain_drops\nsiren\n")
    (own / "seen.json").write_text('{"dog": 0, "rain_drops": 0, "siren": 0}')
    words = ["pseudo-label", own / "videos", "--labels", own / "weak.csv", "--out", tmp_path / "out", "--similarities"]
    words += ["--classes", own / "classes.txt", "--threshold-audio", "0", "--threshold-visual", own / "seen.json"]
    words += ["--clip-model", teachers["clip_model"], "--clap-model", teachers["clap_model"]]
    assert main([str(word) for word in words]) == 1
    out, err = capfd.readouterr()
    assert f"{own / 'videos' / 'nowhere.mp4'}: " in err
    assert f"1 files have no row in {own / 'weak.csv'} and got no pseudo-labels: stranger.mp4" in err
    assert "videos: 100%" in err
    assert out == (
        f"{tmp_path / 'out'}: pseudo-labels of 4 videos (0 of them from earlier runs), 1 failed, "
        "1 without a weak label; 0 labelled videos have no file\n"
    )
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [failure["path"] for failure in manifest["failures"]] == ["nowhere.mp4"]
    assert manifest["unlabelled"] == ["stranger.mp4"]
    (own / "videos" / "nowhere.mp4").unlink()
    # The same bytes from two workers. Not from this process: it has other threads, which round otherwise.
    label(own, tmp_path / "again", teachers, workers=2)
    request.getfixturevalue("at_once")
    assert main([*map(str, words), "-q"]) == 0
    assert "(4 of them from earlier runs), 0 failed" in capfd.readouterr().out
    assert content(tmp_path / "out") == content(tmp_path / "again")
    assert main([*map(str, words), "-q", "--prompt-audio", "hum {label}"]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_the_page(teachers, tmp_path, monkeypatch, capsys, at_once):
    """The blocks of docs/pseudo-labels.md, on generated clips and with the tiny networks."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "pseudo-labels.md").read_text()
    first, again = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    (tune,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    generate_clips("events", "val", 3, seconds=3, size=(48, 64), fps=8)
    networks = ["--clip-model", teachers["clip_model"], "--clap-model", teachers["clap_model"], "-q"]

    def run(command: str) -> str:
        words = shlex.split(command.replace("VIDEOS", "val/videos").replace("LABELS", "val"))
        assert words[0] == "mediakit"
        assert main([*words[1:], *networks]) == 0
        return capsys.readouterr().out

    assert "of 3 videos (0 of them from earlier runs), 0 failed" in run(first)
    before = content(Path("pseudo"))
    exec(compile(tune, "pseudo-labels.md", "exec"), {})
    audio, visual = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (audio[0], visual[0]) == ("audio", "visual")
    assert float(audio[1]) > 0.3  # all kept would reach about as much with random networks
    at_once.clear()
    assert "0 of them from earlier runs, 3 labelled anew from their similarities" in run(again)
    assert at_once == []
    assert content(Path("pseudo")).keys() == before.keys()
    # what the page says of the folder
    table = set(re.findall(r"`([\w/]+/ID\.npy)`", page))
    made = {name.replace(Path(name).stem, "ID") for name in before if name.endswith(".npy")}
    assert made == table
