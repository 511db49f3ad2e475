"""Reading features: what is wrong with them is said once, up front."""

import hashlib
import json

import numpy as np
import pytest

from mediakit import FeatureFolder
from mediakit.encoders import AudioEncoder
from mediakit.errors import MediaError, MediakitError
from mediakit.features import same_encoder
from mediakit.tracks import FaceTracks

CARD = {"name": "AudioEncoder(resnet18)", "weights": "none", "seed": 0, "sha256": "0123456789abcdef" * 4}


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


@pytest.fixture
def bare(tmp_path):
    """A folder as features of LLP circulate."""
    for id in ("-0a_b_10_20", "x_30_40", "sub/z_0_10"):
        write(tmp_path / "audio" / f"{id}.npy", np.full((10, 4), len(id), np.float64))
        write(tmp_path / "frames" / f"{id}.npy", np.full((80, 6), 1, np.float32))
    return tmp_path


@pytest.fixture
def folder(bare):
    """A folder with a manifest: x has no sound."""
    (bare / "audio" / "x_30_40.npy").unlink()
    files = {}
    for id in ("-0a_b_10_20", "x_30_40", "sub/z_0_10"):
        files[id] = {
            "features": {"audio": {"shape": [10, 4]}, "frames": {"shape": [80, 6]}, "faces": {"tracks": 0}},
            "absent": {},
        }
        (bare / "faces" / id).parent.mkdir(parents=True, exist_ok=True)
        FaceTracks((), (64, 48), 25, 0, 0).save(bare / "faces" / f"{id}.safetensors")
    del files["x_30_40"]["features"]["audio"]
    files["x_30_40"]["absent"]["audio"] = "has no sound"
    features = {
        "audio": {"encoder": CARD, "rate": 1.0, "dim": 4},
        "frames": {"encoder": CARD, "rate": 8.0, "dim": 6},
        "faces": {"encoder": {"name": "mesh", "version": "1"}},
    }
    (bare / "manifest.json").write_text(
        json.dumps({"schema": "mediakit.features/1", "files": files, "features": features})
    )
    return bare


def test_a_bare_folder(bare):
    found = FeatureFolder(bare)
    assert found.ids == ("-0a_b_10_20", "sub/z_0_10", "x_30_40")
    assert found.encoders == {"audio": None, "frames": None}
    assert found.load("sub/z_0_10", "audio").tolist() == [[10.0] * 4] * 10
    assert str(found.load("x_30_40", "frames").dtype) == "torch.float32"
    found.check()


def test_folders_of_other_names(bare):
    (bare / "audio").rename(bare / "vggish")
    found = FeatureFolder(bare, {"audio": "vggish"})
    assert set(found.encoders) == {"audio", "frames"}
    assert found.file("x_30_40", "audio") == bare / "vggish" / "x_30_40.npy"
    assert found.load("x_30_40", "audio").shape == (10, 4)
    found.check()
    assert "audio" not in FeatureFolder(bare).encoders


def test_a_folder_with_a_manifest(folder):
    found = FeatureFolder(folder)
    assert found.ids == ("-0a_b_10_20", "sub/z_0_10", "x_30_40")
    assert found.features == ("audio", "frames", "faces")
    assert found.encoders["audio"] == CARD
    assert found.tracks("x_30_40").frames == 25
    found.check()  # what the manifest calls absent is not missing
    with pytest.raises(MediaError, match="has no sound"):
        found.load("x_30_40", "audio")
    with pytest.raises(MediakitError, match=r"1 feature files.*x_30_40.npy is not there: the source has no sound"):
        found.check(features=["audio"])


def test_a_file_that_has_changed_since_is_named(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    path = folder / "frames" / "x_30_40.npy"
    manifest["files"]["x_30_40"]["features"]["frames"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    FeatureFolder(folder).check()
    write(path, np.zeros((80, 6), np.float32))
    with pytest.raises(MediakitError, match=r"1 feature files.*x_30_40\.npy has changed since it was made"):
        FeatureFolder(folder).check()


def test_all_that_is_wrong_is_named_in_one_error(folder):
    (folder / "audio" / "-0a_b_10_20.npy").unlink()
    write(folder / "audio" / "sub" / "z_0_10.npy", np.zeros((9, 4)))
    write(folder / "frames" / "-0a_b_10_20.npy", np.full((80, 6), np.nan))
    (folder / "frames" / "x_30_40.npy").write_bytes(b"\x93NUMPY half a file")
    (folder / "faces" / "x_30_40.safetensors").write_bytes(b"not tracks")
    with pytest.raises(MediakitError) as caught:
        FeatureFolder(folder).check()
    message = str(caught.value)
    assert "5 feature files cannot be used" in message
    for part in (
        "audio/-0a_b_10_20.npy does not exist",
        "audio/sub/z_0_10.npy holds (9, 4) where the manifest says (10, 4)",
        "frames/-0a_b_10_20.npy holds values that are not finite",
        "frames/x_30_40.npy is no intact .npy file",
        "faces/x_30_40.safetensors is no file of face tracks",
    ):
        assert part in message
    FeatureFolder(folder).check(ids=["sub/z_0_10"], features=["frames", "faces"])
    with pytest.raises(MediakitError, match=r"1 feature files.*frames/never_seen\.npy does not exist"):
        FeatureFolder(folder).check(ids=["never_seen"], features=["frames"])


def test_many_problems_are_counted(bare):
    for n in range(20):
        write(bare / "audio" / f"{n}.npy", np.zeros(3))
    with pytest.raises(MediakitError, match=r"40 feature files.*0\.npy holds float64 \(3,\).*; and 35 more\."):
        FeatureFolder(bare).check()


def test_widths_agree_in_a_bare_folder(bare):
    write(bare / "audio" / "x_30_40.npy", np.zeros((10, 5)))
    with pytest.raises(MediakitError, match=r"x_30_40\.npy is 5 wide, but .*-0a_b_10_20\.npy is 4"):
        FeatureFolder(bare).check()


@pytest.mark.parametrize("array", [np.zeros((2, 0)), np.array([["a", "b"]]), np.zeros((2, 2), object)])
def test_arrays_that_are_no_features(bare, array):
    write(bare / "audio" / "odd.npy", array)
    with pytest.raises(MediaError, match=r"odd\.npy"):
        FeatureFolder(bare).load("odd", "audio")


def test_folders_that_do_not_open(tmp_path, bare):
    with pytest.raises(MediaError, match="does not exist"):
        FeatureFolder(tmp_path / "nothing")
    with pytest.raises(MediaError, match="holds no features"):
        FeatureFolder(tmp_path / "audio")
    for text in ("{", "[]", '{"schema": "other/1"}'):
        (bare / "manifest.json").write_text(text)
        with pytest.raises(MediaError, match="is no manifest"):
            FeatureFolder(bare)


def test_same_encoder_names_both():
    card = AudioEncoder("test_resnet").card()
    same_encoder(card, AudioEncoder("test_resnet").card(), "audio")
    same_encoder(card, {**card, "weights": "renamed.pt", "seed": None}, "audio")
    same_encoder(card, None, "audio")
    same_encoder(None, card, "audio")
    other = AudioEncoder("test_resnet", seed=1).card()
    with pytest.raises(MediakitError) as caught:
        same_encoder(card, other, "audio")
    message = str(caught.value)
    assert f"made by AudioEncoder(test_resnet) (weights none, seed 1, sha256 {other['sha256'][:8]})" in message
    assert f"but AudioEncoder(test_resnet) (weights none, seed 0, sha256 {card['sha256'][:8]}) is expected" in message
    with pytest.raises(MediakitError, match=r"mesh \(version 2\)"):
        same_encoder({"name": "mesh", "version": "1"}, {"name": "mesh", "version": "2"}, "faces")
