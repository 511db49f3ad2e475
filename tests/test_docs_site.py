"""The site builds without network and without one warning, and leaves out nothing public.

It takes some twelve seconds, half of them imports, and is not marked slow: whoever edits a docstring should learn at
once that a reference in it leads nowhere.
"""

import os
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import mediakit
from mediakit import colorize, deepfake, encoders, io, parsing, synthetic
from mediakit.cli import TRAINING, main

ROOT = Path(__file__).resolve().parents[1]
BUILD = ("-W", "-n", "--keep-going", "-q", "-b", "html")
INSIDE = {
    *("mediakit.__main__", "mediakit.charts", "mediakit.cli", "mediakit.commands", "mediakit.demo", "mediakit.ledger"),
    *(
        "mediakit.colorize.section",
        "mediakit.deepfake.section",
        "mediakit.option_types",
        "mediakit.options",
        "mediakit.quiet",
        "mediakit.quiet",
        "mediakit.text_tables",
        "mediakit.usage",
        "mediakit.usage",
    ),
    *(
        "mediakit.parsing.pseudo_labels.label_files",
        "mediakit.parsing.section",
        "mediakit.parsing.pseudo_labels.teacher_files",
    ),
}
"""Modules without an entry: the command line has a page of its own; plots of the report, its section on events and
records of a run are plain dicts that nobody else reads; other modules' readers of files and tables."""

RAW = re.compile(r"`|:::|eval-rst|:(func|class|meth|attr|data|mod|param|raises):|\b(Args|Attributes|Raises):")
"""Markup of Markdown, reStructuredText and Google's docstrings that was taken for words."""

NO_NETWORK = """
import socket
def refuse(*args, **kwargs):
    open(__file__ + ".asked", "w").close()
    raise OSError("no network here")
socket.getaddrinfo = socket.socket.connect = socket.socket.connect_ex = refuse
"""


def run_offline(folder: Path, *words: str) -> subprocess.CompletedProcess:
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package, reason=f"{package} is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("site")
    done = run_offline(folder, "-m", "sphinx", *BUILD, "-d", str(folder / "trees"), str(ROOT / "docs"), "html")
    assert done.returncode == 0, done.stderr
    assert not (folder / "sitecustomize.py.asked").exists(), "the build asked for the network"
    return folder / "html"


@pytest.fixture(scope="module")
def entries(site) -> dict[str, set[str]]:
    """Names that the site documents, by kind."""
    import sphinx.util.inventory as inventory

    with (site / "objects.inv").open("rb") as file:
        found = inventory.InventoryFile.load(file, "", os.path.join)
    return {kind: {*names} for kind, names in (found.data if hasattr(found, "data") else found).items()}


class Text(HTMLParser):
    """What a reader sees of a page's main part, code left out."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.inside = self.hidden = 0
        self.parts: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        self.inside += tag == "article"
        self.hidden += tag in ("code", "pre", "script", "style")

    def handle_endtag(self, tag):
        self.inside -= tag == "article"
        self.hidden -= tag in ("code", "pre", "script", "style")

    def handle_data(self, data):
        if self.inside and not self.hidden:
            self.parts.append(data)


def test_the_network_is_really_closed(tmp_path):
    done = run_offline(tmp_path, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))")
    assert "no network here" in done.stderr
    assert (tmp_path / "sitecustomize.py.asked").exists()


def test_no_markup_is_left_raw(site):
    pages = [page for page in site.rglob("*.html") if "_modules" not in page.parts]
    assert len(pages) > 15
    for page in pages:
        text = " ".join(Text(page).parts)
        assert not RAW.search(text), f"{page}: {RAW.search(text)}"


def test_every_public_name_has_an_entry(entries):
    known = set().union(*(names for kind, names in entries.items() if kind.startswith("py:")))
    wanted = {f"{home}.{name}" for name, home in mediakit._HOME.items()}
    wanted |= {f"{package.__name__}.{name}" for package in (io, encoders) for name in package.__all__}
    for package in (colorize, deepfake, parsing):
        wanted |= {f"{package.__name__}.{home}.{name}" for name, home in package._HOME.items()}
    assert wanted - known == set()


def test_every_module_has_an_entry(entries):
    packages = (mediakit, colorize, deepfake, parsing, synthetic)
    modules = {f"{package.__name__}.{m.name}" for package in packages for m in pkgutil.iter_modules(package.__path__)}
    assert modules - INSIDE - entries["py:module"] == set()


def test_every_name_of_the_package_is_listed():
    listed = re.findall(r"`mediakit\.(\w+) <([\w.]+)>`", (ROOT / "docs" / "api" / "index.md").read_text())
    assert {name: target.rpartition(".")[0] for name, target in listed} == mediakit._HOME


def test_every_command_is_shown(site, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = set(re.findall(r"^    ([\w-]+)(?: |$)", capsys.readouterr().out, flags=re.MULTILINE))
    assert {"analyze", "demo", *TRAINING} <= commands
    page = (site / "cli.html").read_text()
    shown = set(re.findall(r"usage: mediakit ([\w-]+) ", page))
    assert shown == commands - set(TRAINING)
    assert all(re.search(rf"<h2>[^<]*\b{name}\b", page) for name in commands)
