import pytest
import torch
from little_films import COLORS, film, tone

from mediakit.colorize.clips.cutting import CutSettings, clip_name, cut_film, find_pieces
from mediakit.io import Audio, load_video, probe, read_audio, scan_packets

RATE = 16_000


def steps(seconds: int) -> Audio:
    """A tone whose level doubles each second."""
    level = 0.01 * 2.0 ** torch.arange(seconds).repeat_interleave(RATE)
    return Audio((level * torch.sin(2 * torch.pi * 440 * torch.arange(seconds * RATE) / RATE))[None], RATE, 0.0)


def spans(pieces):
    return [(piece.start, piece.end) for piece in pieces]


def test_shots_become_pieces(tmp_path):
    path = film(tmp_path / "a.mp4", ("red", 5), ("green", 1), ("blue", 2.5), sound=tone(8.5))
    found = list(find_pieces(path, CutSettings(seconds=2.0, shortest=1.5)))
    # of the first shot a rest of 1 s is dropped; the second shot is too short as a whole
    assert spans(found) == [(0.0, 2.0), (2.0, 4.0), (5.0, 6.0), (6.0, 8.0)]
    assert [piece.problem for piece in found] == ["", "", "is a shot of 1.00 s", ""]
    assert spans(find_pieces(path, CutSettings(seconds=10.0))) == [(0.0, 5.0), (5.0, 6.0), (6.0, 8.5)]


def test_gray_and_still_pieces_have_a_problem(tmp_path):
    gray = film(tmp_path / "gray.mp4", ("gray", 2))
    still = film(tmp_path / "still.mp4", ("red", 2), moving=False)
    (one,), (two,) = (list(find_pieces(path, CutSettings())) for path in (gray, still))
    assert one.problem.startswith("is nearly gray (colourfulness")
    assert two.problem.startswith("is still (motion 0.")
    assert find_pieces(still, CutSettings(min_motion=0.0)).__next__().problem == ""


def test_clips_hold_the_pictures_and_the_sound_of_their_time(tmp_path):
    path = film(tmp_path / "a.mp4", ("red", 2), ("green", 2), ("blue", 2), sound=steps(6))
    cut = cut_film(path, CutSettings(seconds=2.0, size=24), tmp_path / "out", "sub/name")
    assert cut.problem == ""
    assert [clip_name("sub/name", piece) for piece in cut.pieces] == [f"sub/name-0000{n}000" for n in (0, 2, 4)]
    whole = read_audio(path, channels=1).waveform
    for n, color in enumerate(("red", "green", "blue")):
        clip = tmp_path / "out" / f"sub/name-0000{2 * n}000.mp4"
        pictures = load_video(clip).images
        assert pictures.shape == (16, 3, 24, 32)
        assert pictures.float().mean((0, 2, 3)).argmax() == torch.tensor(COLORS[color]).argmax()
        info = probe(clip)
        assert (info.video[0].codec, info.audio[0].codec) == ("h264", "aac")
        assert scan_packets(clip).duration == pytest.approx(2.0, abs=0.01)
        heard = read_audio(clip, channels=1).waveform
        part = whole[:, 2 * n * RATE : (2 * n + 2) * RATE]
        assert heard.square().mean() == pytest.approx(float(part.square().mean()), rel=0.1)
        level = 10 * float(part.double().square().mean().log10())
        assert cut.pieces[n].level == pytest.approx(level, abs=0.1)


def test_silent_parts_are_no_clips(tmp_path):
    wave = steps(4).waveform
    wave[:, : 2 * RATE] = 0
    path = film(tmp_path / "a.mkv", ("red", 2), ("green", 2), sound=Audio(wave, RATE, 0.0))
    cut = cut_film(path, CutSettings(seconds=2.0), tmp_path / "out", "a")
    assert [piece.problem for piece in cut.pieces] == ["is silent", ""]
    assert [piece.level is None for piece in cut.pieces] == [True, False]
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a-00002000.mp4"]


def test_equal_films_give_equal_bytes(tmp_path):
    path = film(tmp_path / "a.mp4", ("red", 2), sound=tone(2.0))
    for out in ("one", "two"):
        cut_film(path, CutSettings(), tmp_path / out, "a")
    assert (tmp_path / "one/a-00000000.mp4").read_bytes() == (tmp_path / "two/a-00000000.mp4").read_bytes()


def test_films_without_sound_or_pictures_give_nothing(tmp_path):
    path = film(tmp_path / "a.mp4", ("red", 2))
    assert cut_film(path, CutSettings(), tmp_path / "out", "a").problem == "has no sound track"
    assert not (tmp_path / "out").exists()


def test_a_film_that_was_cut_off_gives_its_intact_clips(tmp_path):
    path = film(tmp_path / "a.mkv", ("red", 4), ("green", 4), sound=tone(8.0))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    cut = cut_film(path, CutSettings(seconds=2.0, shortest=2.0), tmp_path / "out", "a")
    assert any("cut off" in text for text in cut.warnings)
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written[0] == "a-00000000.mp4"
    assert len(written) == sum(not piece.problem for piece in cut.pieces) < 4
