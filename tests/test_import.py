"""What `import mediakit` promises: it is light, its names resolve, none of them hides a submodule."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import mediakit

HEAVY = (
    "torch",
    "numpy",
    "pytorch_lightning",
    "mediapipe",
    "cv2",
    "librosa",
    "skimage",
    "av",
    "timm",
    "scipy",
    "jsonargparse",
)


def loaded_by(code: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in run.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    "code",
    [
        "import mediakit",
        "from mediakit.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass",
        "from mediakit.cli import main\ntry:\n    main(['analyze', '--help'])\nexcept SystemExit:\n    pass",
    ],
)
def test_nothing_heavy_is_loaded(code):
    assert loaded_by(code).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", [n for n in mediakit.__all__ if n != "__version__"])
def test_public_names_resolve(name):
    value = getattr(mediakit, name)
    assert value.__module__.startswith("mediakit.")
    assert value.__doc__
    assert name in dir(mediakit)


def packages() -> list[str]:
    names = ["mediakit", *(m.name for m in pkgutil.walk_packages(mediakit.__path__, "mediakit.") if m.ispkg)]
    return [n for n in names if hasattr(importlib.import_module(n), "__all__")]


@pytest.mark.parametrize("package", packages())
def test_no_public_name_equals_a_submodule(package):
    module = importlib.import_module(package)
    submodules = {m.name for m in pkgutil.iter_modules(module.__path__)}
    assert submodules.isdisjoint(module.__all__)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = mediakit.nothing_of_the_kind


def test_opencv_wheels_are_of_one_version():
    # Both own the folder cv2: at different versions one overwrites half of the other.
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("opencv-python")
    except PackageNotFoundError:
        pytest.skip("OpenCV is not installed")
    assert version("opencv-python") == version("opencv-contrib-python")
