"""Sphinx's settings: ``sphinx-build -W -n --keep-going -b html docs build/docs``; needs no network."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, get_type_hints

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import stringify_annotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # document this tree, not an installed copy

from mediakit import __version__
from mediakit.cli import main

project = "mediakit"
author = "The mediakit authors"
project_copyright = "The mediakit authors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
nitpicky = True
default_role = "py:obj"  # single backticks: `name` of this module or class, `.name` of any other

# Where other libraries document what our signatures name. A name that is not here fails the build, as any broken
# reference does; the usual inventories would have to be fetched.
_PYTHON = "https://docs.python.org/3/library/"
_NUMPY = "https://numpy.org/doc/stable/reference/"
_TORCH = "https://docs.pytorch.org/docs/stable/"
_TORCHMETRICS = "https://lightning.ai/docs/torchmetrics/stable/references/metric.html"
_LIGHTNING = "https://lightning.ai/docs/pytorch/stable/api/lightning.pytorch.core"
OUTSIDE = {
    **{
        f"collections.abc.{name}": f"{_PYTHON}collections.abc.html#collections.abc.{name}"
        for name in ("Callable", "Generator", "Iterable", "Iterator", "Mapping", "Sequence")
    },
    "abc.ABC": f"{_PYTHON}abc.html#abc.ABC",
    "os.PathLike": f"{_PYTHON}os.html#os.PathLike",
    "pathlib.Path": f"{_PYTHON}pathlib.html#pathlib.Path",
    "torch.Tensor": f"{_TORCH}tensors.html#torch.Tensor",
    "torch.device": f"{_TORCH}tensor_attributes.html#torch.device",
    "torch.nn.modules.linear.Linear": f"{_TORCH}generated/torch.nn.Linear.html",
    "torch.nn.modules.module.Module": f"{_TORCH}generated/torch.nn.Module.html",
    "torch._C.Generator": f"{_TORCH}generated/torch.Generator.html",
    "torch.utils.data.dataloader.DataLoader": f"{_TORCH}data.html#torch.utils.data.DataLoader",
    "torch.utils.data.dataset.Dataset": f"{_TORCH}data.html#torch.utils.data.Dataset",
    **dict.fromkeys(("torchmetrics.Metric", "torchmetrics.metric.Metric"), _TORCHMETRICS),
    "pytorch_lightning.core.module.LightningModule": f"{_LIGHTNING}.LightningModule.html",
    "pytorch_lightning.core.datamodule.LightningDataModule": f"{_LIGHTNING}.LightningDataModule.html",
    "numpy.dtype": f"{_NUMPY}generated/numpy.dtype.html",
    "numpy.ndarray": f"{_NUMPY}generated/numpy.ndarray.html",
    "numpy.random._generator.Generator": f"{_NUMPY}random/generator.html#numpy.random.Generator",
    "numpy.typing.NDArray": f"{_NUMPY}typing.html#numpy.typing.NDArray",
    **{
        f"numpy.{name}": f"{_NUMPY}arrays.scalars.html#numpy.{name}"
        for name in ("bool", "float32", "float64", "int32", "uint8")
    },
}
# Type variables (of prefetch and Encoder.freeze) are nothing that one could document.
nitpick_ignore_regex = [("py:class", r"mediakit\.[\w.]+\.[A-Z]")]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # fields as one list, not a heading each
napoleon_use_rtype = False  # "(T, 3): what it is" under Returns is a shape, not a type
python_maximum_signature_line_length = 76
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"mediakit {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False


class Help(SphinxDirective):
    """What ``mediakit ARGUMENTS --help`` prints, taken from the program itself."""

    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(sys.modules["mediakit.cli"].__file__)
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            main([*self.arguments, "--help"])
        return [nodes.literal_block(text.getvalue(), text.getvalue().rstrip(), language="none")]


class Notebook(MystParser):
    """A notebook's text and code as a page. Nothing is executed here: the tests do that."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Reads the cells as Markdown."""
        fence = {"markdown": "{}", "code": "```python\n{}\n```"}
        cells = json.loads(inputstring)["cells"]
        super().parse("\n\n".join(fence[c["cell_type"]].format("".join(c["source"])) for c in cells), document)


def link_outside(
    app: Sphinx, env: Any, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Links what other libraries document."""
    url = OUTSIDE.get(node.get("reftarget", ""))
    return nodes.reference("", "", content, internal=False, refuri=url) if url else None


def array(text: str) -> str:
    """Writes NDArray[T], as the source does, where autodoc spells out numpy's type arguments."""
    return re.sub(r"~?numpy\.ndarray\[.*?, ~?numpy\.dtype\[~?([\w.]+)\]\]", r"~numpy.typing.NDArray[~\1]", text)


def mend_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, arguments: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Leaves out arguments that say nothing, gives a NamedTuple's their true types, shortens arrays."""
    if arguments == "(*args, **kwargs)":
        arguments = ""
    if what == "class" and hasattr(obj, "_fields"):  # its constructor does not know the module that names its types
        hints, defaults = get_type_hints(obj), obj._field_defaults
        types = {field: stringify_annotation(hints[field], "smart") for field in obj._fields}
        values = {field: f" = {value!r}" for field, value in defaults.items()}
        arguments = "(" + ", ".join(f"{field}: {types[field]}{values.get(field, '')}" for field in types) + ")"
    return arguments and array(arguments), returns and array(returns)


def shorten_fields(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Shortens arrays in the types of fields."""
    lines[:] = map(array, lines)


def sentence(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keeps a constant's docstring whole: napoleon would take what stands before its first colon for a type."""
    if what in ("attribute", "data", "property") and lines:
        lines[0] = f": {lines[0]}"


def hide_long_values(app: Sphinx, domain: str, kind: str, content: addnodes.desc_content) -> None:
    """Leaves the values of large tables to the source."""
    for part in [*content.parent.findall(addnodes.desc_annotation)]:
        if kind in ("data", "attribute") and part.astext().startswith(" = ") and len(part.astext()) > 200:
            part.parent.remove(part)


def skip_field_aliases(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """A NamedTuple's fields stand in its class's docstring; Python's "Alias for field number 0" says less."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> None:
    """Registers what is above."""
    os.environ.update(COLUMNS="88", NO_COLOR="1")  # argparse looks at the terminal
    app.add_directive("cli-help", Help)
    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(Notebook)
    app.connect("missing-reference", link_outside)
    app.connect("autodoc-process-docstring", sentence, priority=400)  # before napoleon's 500
    app.connect("autodoc-process-docstring", shorten_fields, priority=600)
    app.connect("autodoc-process-signature", mend_signature)
    app.connect("object-description-transform", hide_long_values)
    app.connect("autodoc-skip-member", skip_field_aliases)
