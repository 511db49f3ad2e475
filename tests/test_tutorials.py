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


@pytest.mark.slow
def test_parsing(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra dev)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (extra dev)")
    import nbformat

    notebook = nbformat.read(TUTORIALS / "parsing.ipynb", as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    errors = [o for cell in notebook.cells for o in cell.get("outputs", ()) if o.get("name") == "stderr"]
    assert errors == []
    text = printed(notebook.cells)
    type_at_av = {
        name: float(values.split()[3])
        for name, values in re.findall(r"^(protocol mmcse|weak labels everywhere) +(.*)$", text, flags=re.MULTILINE)
    }
    assert type_at_av["protocol mmcse"] > type_at_av["weak labels everywhere"] + 10
    assert "WEBVTT" in text
    shown = printed(notebook.cells, "text/html")
    assert shown.count("<iframe") == 2
    assert shown.count("class=&quot;event heard&quot;") >= 3
    assert shown.count("data:image/jpeg") == 10
    assert (tmp_path / "parsing-tutorial" / "best.ckpt").is_file()
