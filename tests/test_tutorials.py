"""The notebooks of the documentation run from top to bottom in a clean kernel and show what their text says."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
NOTEBOOKS = sorted(TUTORIALS.glob("*.ipynb"))


def code(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def printed(cells: list[dict], kind: str = "text/plain") -> str:
    """All that cells print, or all that they display as one kind of content."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    if kind == "text/plain":
        return "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    return "".join(output.get("data", {}).get(kind, "") for output in outputs)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    assert {cell["cell_type"] for cell in cells} == {"code", "markdown"}
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert notebook.stat().st_size < 50_000


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_imports_what_there_is(notebook):
    """What breaks a notebook most often, found without its run of some minutes."""
    found = [node for cell in code(notebook) for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.ImportFrom)]
    names = [(node.module, name.name) for node in found for name in node.names if node.module.startswith("mediakit")]
    assert len(names) > 5
    for module, name in names:
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"


def executed(name: str, folder: Path) -> list[dict]:
    """The cells of a notebook with what they put out; files go to the folder."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra dev)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (extra dev)")
    import nbformat

    notebook = nbformat.read(TUTORIALS / name, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return notebook.cells


def complaints(cells: list[dict]) -> list[str]:
    """What cells wrote to standard error."""
    return [o["text"] for cell in cells for o in cell.get("outputs", ()) if o.get("name") == "stderr"]


@pytest.mark.slow
def test_parsing(tmp_path):
    cells = executed("parsing.ipynb", tmp_path)
    assert complaints(cells) == []
    text = printed(cells)
    type_at_av = {
        name: float(values.split()[3])
        for name, values in re.findall(r"^(protocol mmcse|weak labels everywhere) +(.*)$", text, flags=re.MULTILINE)
    }
    assert type_at_av["protocol mmcse"] > type_at_av["weak labels everywhere"] + 10
    assert "WEBVTT" in text
    shown = printed(cells, "text/html")
    assert shown.count("<iframe") == 2
    assert shown.count("class=&quot;event heard&quot;") >= 3
    assert shown.count("data:image/jpeg") == 10
    assert (tmp_path / "parsing-tutorial" / "best.ckpt").is_file()


@pytest.mark.slow
def test_deepfake(tmp_path):
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    if not hasattr(mediapipe, "solutions"):
        pytest.skip("this MediaPipe bundles no face model")
    cells = executed("deepfake.ipynb", tmp_path)
    progress = re.compile(r"\s*((videos|views \(\w+\)):[^\n]*\s*)*")
    assert [text for text in complaints(cells) if not progress.fullmatch(text)] == []
    text = printed(cells)
    # In phase space the smoothed mouth is much slower than the genuine one, and so is the tempo a person can check.
    genuine, smoothed = (float(length) for length in re.findall(r"path ([\d.]+) IOD a second", text))
    assert smoothed < 0.6 * genuine
    assert "out of range: Tempo of the mouth" in text
    # Ranked better than chance by more than its few films can do by accident (1 of 20 orders).
    assert float(re.search(r"^AUC ([\d.]+)$", text, flags=re.MULTILINE)[1]) > 0.8
    assert re.search(r"^heads-test-0-0000\d-oversmooth: ", text, flags=re.MULTILINE)
    low, high = (float(x) for x in re.search(r"^belief ([\d.]+) to ([\d.]+),", text, flags=re.MULTILINE).groups())
    assert 0 <= low <= high <= 1
    shown = printed(cells, "text/html")
    assert shown.count("<iframe") == 3
    assert shown.count("data:image/jpeg") == 2
    assert all(f"person {number}" in shown for number in range(6))
    assert (tmp_path / "deepfake-tutorial" / "best.ckpt").is_file()


@pytest.mark.slow
def test_colorize(tmp_path):
    cells = executed("colorize.ipynb", tmp_path)
    assert complaints(cells) == []
    text = printed(cells)
    assert text.count("error on validation") == 3
    rows = re.findall(r"^(right sound|no sound|gray picture) +24 +([\d.]+) ", text, flags=re.MULTILINE)
    errors = {name: float(error) for name, error in rows}
    assert errors["right sound"] < errors["no sound"] - 0.5
    assert errors["right sound"] < errors["gray picture"] - 2
    told = re.search(r"^flicker ([\d.]+) as guessed, ([\d.]+) as written$", text, flags=re.MULTILINE)
    as_guessed, written = map(float, told.groups())
    assert written <= as_guessed
    ways = re.findall(r"^(.*): error [\d.]+, believed to (\d+)%, L kept within ([\d.]+)$", text, flags=re.MULTILINE)
    assert [way for way, *_ in ways][1] == "no sound"
    assert len(ways) == 4
    assert ways[1][1] == "0"
    assert all(float(kept) <= 0.3 for *_, kept in ways)
    shown = printed(cells, "text/html")
    assert shown.count("<iframe") == 3
    assert shown.count("data:image/jpeg") == 4 + 6 + 2
    assert shown.count("data:video/mp4") == 1
    assert "The colours are guessed." in shown
    assert (tmp_path / "colorize-tutorial" / "run" / "colorizer.ckpt").is_file()
