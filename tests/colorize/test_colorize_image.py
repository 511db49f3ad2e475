"""Pictures of all kinds in colours: the lightness of scikit-image, the transparency of Pillow, sounds good and bad."""

import struct

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch import nn
from toy_colorizer import ALONE, CHROMA, RELEVANCE, ToyColorizer, hue

from mediakit.colorize.image import colorize_image, write_coloring
from mediakit.colorize.model import ColorizeOutput
from mediakit.colorize.module import ColorizeModule
from mediakit.colorize.painting import network_size
from mediakit.errors import MediaError
from mediakit.io import Audio, read_image, write_audio, write_image, write_video

RATE = 16_000


class Painter(nn.Module):
    """Paints what it is told, whatever it sees."""

    def __init__(self, paint):
        super().__init__()
        self.paint, self.scale, self.dropout = paint, nn.Parameter(torch.ones(1)), nn.Dropout(0.5)

    def forward(self, lightness, semantics=None, present=None):
        zero = torch.zeros(len(lightness))
        return ColorizeOutput(self.paint(lightness, self.dropout), zero, zero, zero[:, None], zero[:, None])


class PaintBox:
    size = 64

    def __init__(self, paint):
        self.network = Painter(paint).eval()


def wild(lightness, dropout):
    """Colours far outside of the gamut, other ones in every corner."""
    draw = torch.Generator().manual_seed(3)
    corners = torch.rand(1, 2, 6, 6, generator=draw) * 220 - 110
    return nn.functional.interpolate(corners, lightness.shape[2:], mode="bilinear", align_corners=False)


def gray(height, width, seed=0, dtype=torch.uint8):
    """Every level from black to white, with edges and grain."""
    draw = torch.Generator().manual_seed(seed)
    blocks = torch.rand(1, 1, 7, 9, generator=draw)
    wide = nn.functional.interpolate(blocks, (height, width), mode="nearest")[0]
    ramp = torch.linspace(0, 1, width).expand(1, height, width)
    level = (0.5 * wide + 0.5 * ramp + 0.02 * torch.randn(1, height, width, generator=draw)).clamp(0, 1)
    full = 255 if dtype == torch.uint8 else 65535
    return (level * full).round().to(torch.int32).to(dtype).expand(3, -1, -1).contiguous()


def lightness(image):
    full = 255 if image.dtype == torch.uint8 else 65535
    return rgb2lab(image[:3].permute(1, 2, 0).numpy().astype(np.float64) / full)[..., 0]


def tone(hertz, seconds, rate=RATE):
    return 0.2 * torch.sin(2 * torch.pi * hertz * torch.arange(round(seconds * rate)) / rate)[None]


def color_of(image):
    """Mean a and b of a picture."""
    return rgb2lab(image[:3].permute(1, 2, 0).numpy() / 255)[..., 1:].mean((0, 1))


def dull(height=40, width=60):
    """Gray in which every colour of the toy fits."""
    return torch.linspace(110, 150, width).round().to(torch.uint8).expand(3, height, width).contiguous()


def test_lightness_is_kept_whatever_the_colours():
    picture = gray(150, 201)
    coloring = colorize_image(PaintBox(wild), picture)
    assert np.abs(lightness(coloring.rgb) - lightness(picture)).max() <= 0.3
    chroma = np.hypot(*np.moveaxis(rgb2lab(coloring.rgb.permute(1, 2, 0).numpy() / 255)[..., 1:], -1, 0))
    assert chroma.mean() > 15  # it is not gray that keeps it


def test_sixteen_bits_keep_it_to_a_hundredth(tmp_path):
    write_image(tmp_path / "deep.png", gray(40, 61, dtype=torch.uint16))
    coloring = colorize_image(PaintBox(wild), tmp_path / "deep.png", bits=16)
    write_coloring(tmp_path / "out.png", coloring)
    back = read_image(tmp_path / "out.png", bits=None)
    assert back.dtype == torch.uint16
    was = read_image(tmp_path / "deep.png", bits=None)
    assert np.abs(lightness(back) - lightness(was)).max() <= 0.01
    shallow = colorize_image(PaintBox(wild), tmp_path / "deep.png")
    assert shallow.rgb.dtype == torch.uint8
    assert np.abs(lightness(shallow.rgb) - lightness(was)).max() <= 0.3


def test_a_sepia_picture_is_coloured_by_its_lightness_alone():
    plain = dull()
    sepia = (plain * torch.tensor([1.05, 0.92, 0.7])[:, None, None]).round().to(torch.uint8)
    assert color_of(sepia)[1] > 15
    coloring = colorize_image(ToyColorizer().eval(), sepia)
    assert color_of(coloring.rgb) == pytest.approx(ALONE, abs=0.5)
    assert np.abs(lightness(coloring.rgb) - lightness(sepia)).max() <= 0.3


@pytest.mark.parametrize("tile_pixels", [1, 201 * 7 + 3, 10**9])
def test_tiles_change_nothing(tile_pixels):
    picture = gray(150, 201)
    box = PaintBox(wild)
    whole, tiled = (colorize_image(box, picture, tile_pixels=n).rgb.int() for n in (2**19, tile_pixels))
    assert (whole - tiled).abs().max() <= 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 4000), (4000, 5), (3, 2), (300, 40)])
def test_any_size_is_kept(height, width):
    picture = gray(height, width)
    coloring = colorize_image(PaintBox(wild), picture)
    assert coloring.rgb.shape == (3, height, width)
    assert np.abs(lightness(coloring.rgb) - lightness(picture)).max() <= 0.3


def test_what_the_network_sees():
    assert network_size(600, 800, 256) == (256, 341)
    assert network_size(800, 600, 256) == (341, 256)
    assert network_size(100, 1000, 256) == (51, 512)  # at most twice as long
    assert network_size(5, 4000, 256) == (32, 512)  # and never a thread
    assert network_size(1, 1, 256) == (256, 256)
    assert network_size(5, 4000, 16) == (16, 32)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_transparency_is_kept(tmp_path, dtype):
    alpha = gray(30, 40, seed=5, dtype=dtype)[:1]
    write_image(tmp_path / "a.png", torch.cat([gray(30, 40, dtype=dtype), alpha]))
    for bits, same in ((8, dtype == torch.uint8), (16, dtype == torch.uint16)):
        coloring = colorize_image(PaintBox(wild), tmp_path / "a.png", bits=bits)
        ratio = coloring.rgb[3].double() / (2**bits - 1)
        full = 255 if dtype == torch.uint8 else 65535
        assert (ratio - alpha[0].double() / full).abs().max() <= (0 if same else 0.5 / 255 + 1e-9)


def test_gray_with_alpha_as_others_write_it(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    levels = np.random.default_rng(0).integers(0, 256, (20, 30, 2), np.uint8)
    pillow.fromarray(levels, "LA").save(tmp_path / "la.png")
    write_coloring(tmp_path / "out.png", colorize_image(PaintBox(wild), tmp_path / "la.png"))
    with pillow.open(tmp_path / "out.png") as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image)[..., 3], levels[..., 1])
        assert image.text["Comment"].startswith("The colours are guessed.")
    write_coloring(tmp_path / "out.jpg", colorize_image(PaintBox(wild), tmp_path / "la.png"))  # on white
    clear = torch.from_numpy(levels[..., 1] == 0)
    assert (read_image(tmp_path / "out.jpg").float().mean(0)[clear] > 150).all()


def test_cmyk(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    ink = np.zeros((24, 32, 4), np.uint8)
    ink[..., 3] = np.linspace(90, 150, 32)
    pillow.fromarray(ink, "CMYK").save(tmp_path / "a.jpg", quality=100)
    coloring = colorize_image(ToyColorizer().eval(), tmp_path / "a.jpg")
    assert np.abs(coloring.rgb[:, 10].float().mean(0).numpy() - (255 - ink[10, :, 3])).max() < 12
    assert color_of(coloring.rgb) == pytest.approx(ALONE, abs=1)


def test_a_picture_that_cannot_be_read(tmp_path):
    (tmp_path / "a.png").write_bytes(struct.pack(">I", 7) * 30)
    with pytest.raises(MediaError, match=r"a\.png"):
        colorize_image(PaintBox(wild), tmp_path / "a.png")


# Sound


def test_the_sound_colours():
    for hertz in (500, 2000):
        module = ToyColorizer().eval()
        coloring = colorize_image(module, dull(), Audio(tone(hertz, 12), RATE, 0.0))
        wanted = CHROMA * np.array([np.cos(hue(hertz)), np.sin(hue(hertz))])
        assert color_of(coloring.rgb) == pytest.approx(wanted, abs=1.0)
        assert coloring.guided.sound == "used"
        assert coloring.guided.relevance == RELEVANCE
        assert module.network.heard == [160_000, 160_000]  # ten seconds, and two that repeat


def test_a_second_of_sound_is_repeated(tmp_path):
    write_audio(tmp_path / "a.wav", tone(1010, 1), RATE)
    module = ToyColorizer().eval()
    coloring = colorize_image(module, dull(), tmp_path / "a.wav")
    assert module.network.heard == [160_000]
    wanted = CHROMA * np.array([np.cos(hue(1010)), np.sin(hue(1010))])
    assert color_of(coloring.rgb) == pytest.approx(wanted, abs=1.0)


def test_five_channels_and_one_at_48_khz(tmp_path):
    write_audio(tmp_path / "a.wav", tone(1000, 3, 48_000).repeat(6, 1), 48_000)
    coloring = colorize_image(ToyColorizer().eval(), dull(), tmp_path / "a.wav")
    wanted = CHROMA * np.array([np.cos(hue(1000)), np.sin(hue(1000))])
    assert color_of(coloring.rgb) == pytest.approx(wanted, abs=1.0)


def garbled(path):
    """A film whose sound is noise to its decoder."""
    import av

    frames = [torch.full((3, 32, 32), 99, dtype=torch.uint8)] * 8
    write_video(path, frames, 8, audio=Audio(tone(800, 1), RATE, 0.0), preset="ultrafast")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux(audio=0) if p.size]
    for at, size in spans:
        data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("case", ["silent", "missing", "undecodable", "not used", "not given"])
def test_without_sound_that_says_anything(tmp_path, case):
    audio, weight = tmp_path / "a.wav", 1.0
    if case == "silent":
        write_audio(audio, torch.full((1, RATE), 5e-5), RATE, bits="32f")
    elif case == "missing":
        audio = tmp_path / "a.mp4"
        write_video(audio, [torch.zeros(3, 32, 32, dtype=torch.uint8)] * 4, 4)
    elif case == "undecodable":
        audio = garbled(tmp_path / "a.mp4")
    elif case == "not used":
        write_audio(audio, tone(500, 1), RATE)
        weight = 0.0
    else:
        audio = None
    coloring = colorize_image(ToyColorizer().eval(), dull(), audio, audio_weight=weight)
    assert color_of(coloring.rgb) == pytest.approx(ALONE, abs=0.5)
    assert (coloring.guided.by, coloring.guided.sound, coloring.guided.relevance) == ("nothing", case, 0.0)
    assert len(coloring.notes) == (0 if case == "not given" else 1)
    assert "such a sound" not in coloring.comment


def test_a_sound_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        colorize_image(ToyColorizer().eval(), dull(), tmp_path / "a.wav")


def test_the_weight_reaches_the_network():
    coloring = colorize_image(ToyColorizer().eval(), dull(), Audio(tone(500, 1), RATE, 0.0), audio_weight=0.4)
    assert coloring.guided.relevance == pytest.approx(0.4 * RELEVANCE)
    assert coloring.guided.weight == 0.4
    assert "such a sound" in coloring.comment


def test_a_photograph_guides(tmp_path):
    write_image(tmp_path / "guide.png", gray(30, 50))
    coloring = colorize_image(ToyColorizer().eval(), dull(), guide=tmp_path / "guide.png")
    assert coloring.guided.by == "photo"
    assert color_of(coloring.rgb) == pytest.approx((CHROMA, 0), abs=0.5)
    assert "photograph" in coloring.comment
    with pytest.raises(ValueError, match="not both"):
        colorize_image(ToyColorizer().eval(), dull(), Audio(tone(500, 1), RATE, 0.0), guide=dull())


# Options and what is told


def test_saturation():
    coloring = colorize_image(ToyColorizer().eval(), dull(), saturation=1.5)
    assert color_of(coloring.rgb) == pytest.approx(np.multiply(1.5, ALONE), abs=0.5)
    assert color_of(colorize_image(ToyColorizer().eval(), dull(), saturation=0).rgb) == pytest.approx((0, 0), abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"audio_weight": 1.5}, "audio_weight must be 0 to 1"),
        ({"saturation": -1}, "saturation"),
        ({"bits": 12}, "bits must be 8 or 16"),
        ({"tile_pixels": 0}, "tile_pixels"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        colorize_image(ToyColorizer(), dull(), **options)


def test_pictures_of_other_shapes_are_refused():
    for picture in (torch.zeros(3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="image must be uint8"):
            colorize_image(ToyColorizer(), picture)


def test_spread_over_sizes_is_that_of_the_guesses():
    """a grows with the width that the network sees: 0.75, 1 and 1.25 times 20."""
    box = PaintBox(lambda x, dropout: torch.full((1, 2, *x.shape[2:]), 20.0 * x.shape[3] / 64))
    spread = colorize_image(box, gray(64, 64), uncertainty=True).spread
    assert spread.size == pytest.approx(np.sqrt(2) * np.std([15, 20, 25]), rel=1e-4)
    assert spread.dropout == pytest.approx(0)
    assert spread.map.shape == (64, 64)


def test_spread_over_dropout_is_reproducible_and_leaves_no_trace():
    """Half of the pixels are 40, half 0, by turns: a deviation of 20 in each of a and b."""
    box = PaintBox(lambda x, dropout: dropout(torch.full((1, 2, *x.shape[2:]), 20.0)))
    before = torch.random.get_rng_state()
    first, second, other = (colorize_image(box, gray(64, 64), uncertainty=True, seed=n).spread for n in (1, 1, 2))
    assert first.dropout == pytest.approx(20 * np.sqrt(2) * np.sqrt(7 / 8), rel=0.02)  # of eight masks
    assert first.size == pytest.approx(0, abs=1e-4)
    assert first.dropout == second.dropout != other.dropout
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not box.network.dropout.training


def test_without_dropout_that_is_said():
    coloring = colorize_image(ToyColorizer().eval(), dull(), uncertainty=True)
    assert coloring.spread.dropout is None
    assert "no dropout" in coloring.notes[0]


def test_parts_go_back_to_their_modes():
    box = PaintBox(wild)
    box.network.train()
    box.network.dropout.eval()
    colorize_image(box, dull())
    assert box.network.training
    assert not box.network.dropout.training


def test_the_record(tmp_path):
    write_image(tmp_path / "a.png", dull())
    told = colorize_image(ToyColorizer().eval(), tmp_path / "a.png", seed=4).to_dict()
    assert told["source"]["name"] == "a.png"
    assert (told["size"], told["bits"], told["seed"]) == ([60, 40], 8, 4)
    assert len(told["model"]["weights_sha256"]) == 64
    assert told["notice"].startswith("The colours are guessed.")


def test_a_real_module():
    torch.manual_seed(0)
    names = {"gray_encoder": "resnet10t", "semantic_encoder": "reference", "audio_encoder": "reference"}
    module = ColorizeModule(3, **names, dim=16, width=4, size=32).eval()
    picture = gray(50, 70)
    sound = Audio(tone(500, 1), RATE, 0.0)
    coloring = module(picture, sound)
    assert 0 < coloring.guided.relevance < 1
    assert np.abs(lightness(coloring.rgb) - lightness(picture)).max() <= 0.3
    assert torch.equal(module(picture).rgb, module(picture, sound, audio_weight=0).rgb)
    assert coloring.to_dict()["model"]["network"] == "ColorizationModel"
    assert colorize_image(module, picture, uncertainty=True).spread.dropout > 0


def test_a_waveform_without_its_rate_and_a_gray_exemplar_are_told():
    with pytest.raises(ValueError, match="does not tell its rate"):
        colorize_image(ToyColorizer().eval(), dull(), tone(500, 1))
    gray_guide = torch.full((3, 40, 40), 128, dtype=torch.uint8)
    assert "nearly gray itself" in colorize_image(ToyColorizer().eval(), dull(), guide=gray_guide).notes[0]
