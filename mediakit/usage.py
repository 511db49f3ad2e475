"""What is wrong with a command line of `mediakit fit` and its like, in one line: jsonargparse takes a page for it.

Nothing but the text of its error is read (that of versions 4.35 to 4.53); what is not recognised is told shortened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from pathlib import Path

from mediakit.errors import require

_FIXED = ("config", "seed_everything", "ckpt_path", "weights_only", "print_config", "help")
_KINDS = {
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "list": "a list such as [a,b]",
    "NoneType": "null",
    "str": "text",
}
_KEY = re.compile(r'^( *)(?:- )?Parser key "(.+?)"', re.MULTILINE)
_CLASS = re.compile(r"Problem with given class_path '(.+?)':\s*(.*)")
_UNKNOWN = re.compile(
    r"'([^']+)' is not (?:accepted|expected)|does not accept (?:option|nested key) '(.+?)'"
    r"|import path string: .*\n(?:.*\n)*? *Given value: NestedArg\(key='(.+?)'"
)
_REQUIRED = re.compile(r"arguments are required: ([\w.]+)|[Kk]ey \"(.+?)\" is required")
_STRAY = re.compile(r"nrecognized arguments: (\S+)")
_VALUE = re.compile(r"(?:Got|Given) value: (.*)")
_EXPECTED = re.compile(r"Expected an? (.+?)(?:\. Got value.*)?$", re.MULTILINE)


def explain(text: str, words: Sequence[str]) -> str:
    """Says in one line what is wrong, what was meant perhaps, and where the options are listed.

    Args:
        text: Message of the ``ArgumentError``.
        words: The command line: the command and its options, recipes as files.
    """
    keys = _keys(text)
    found = _CLASS.search(text)
    class_path = found[1] if found else ""
    group = f"--{keys[0]}.help {class_path}" if keys and class_path else "--help"
    listed = f" `mediakit {words[0]} {group}` lists the options."
    option = f"--{'.'.join(keys)}"
    if match := _STRAY.search(text) or _UNKNOWN.search(text):
        name = match[match.lastindex or 1]
        if match.re is _STRAY and not name.startswith("-"):
            return f"{words[0]} does not know what to do with {name!r}: a recipe is given as --config NAME.{listed}"
        wrong = ".".join([*keys, name.lstrip("-").partition("=")[0].replace("init_args.", "")])
        if class_path.startswith("mediakit.base."):
            return f"--{wrong} is for a class: name it by --{keys[0]} CLASS, or a recipe by --config NAME.{listed}"
        known = _known(words) + [".".join([*keys, part]) for part in _arguments(class_path)]
        return f"{words[0]} has no option --{wrong}.{_meant(wrong, known, '--')}{listed}"
    if match := _REQUIRED.search(text):
        lacking = ".".join([*keys, (match[1] or match[2]).removeprefix(".").removeprefix(f"{words[0]}.")])
        advice = " CLASS, or a recipe by --config NAME" if lacking in ("model", "data") else ""
        return f"{words[0]} needs --{lacking}{advice}.{listed}"
    if "expected one argument" in text:
        return f"{_without_value(words)} needs a value.{listed}"
    if found and len(keys) == 1:
        return f"{option} {class_path}: {found[2].rstrip('.')}.{_meant(class_path, _beside(class_path))}"
    if keys and (value := _VALUE.search(text)):
        return f"{option} {_refusal(text, value)}{listed}"
    told = " ".join(line.strip() for line in text.partition("Given value")[0].splitlines())
    return f"{words[0]}: {told[:300].rstrip('.')}.{listed}"


def _keys(text: str) -> list[str]:
    """The way to the option, from outside inwards: ``["data", "dataset"]``."""
    keys: list[str] = []
    depth = -1
    for match in _KEY.finditer(text):
        if len(match[1]) <= depth:  # the next of several ways to read the value
            break
        depth = len(match[1])
        keys.append(match[2])
    return keys


def _refusal(text: str, value: re.Match[str]) -> str:
    """What a value may be instead."""
    start = max(match.end() for match in _KEY.finditer(text, 0, value.start()))
    names: list[str] = []
    kinds: dict[str, None] = {}
    for told in _EXPECTED.findall(text, start, value.end()):
        if told.startswith("typing.Literal"):
            names += re.findall(r"'(.*?)'", told)
            kinds |= dict.fromkeys(names)
        elif match := re.match(r"<class '(?:.*\.)?(\w+)'>", told):
            kinds[_KINDS.get(match[1], f"a {match[1]}")] = None
        elif told.startswith("dot import path"):
            kinds["a class such as package.module.Name"] = None
        elif "either not accessible" not in told:
            kinds[f"a {told}"] = None
    given = re.sub(r"NestedArg\(key='.*?', val='?(.*?)'?\)$", r"\1", value[1])
    if not kinds.keys() - {"null"}:
        return f"cannot be {given!r}."
    *others, last = sorted(kinds, key="null".__eq__)
    takes = f"{', '.join(others)} or {last}" if others else last
    return f"takes {takes}, not {given!r}.{_meant(given, names)}"


def _meant(wrong: str, known: Iterable[str], prefix: str = "") -> str:
    """A question about the nearest of the known names; empty if none is near."""
    names = list(dict.fromkeys(known))
    group_left_out = [name for name in names if name.endswith(f".{wrong}")]
    near = group_left_out or get_close_matches(wrong, names, 1, 0.6)
    return f" Did you mean {prefix}{near[0]}?" if near else ""


def _known(words: Sequence[str]) -> list[str]:
    """Names of the options of trainer, model and data, these as far as the command line names their classes."""
    classes = {"trainer": "pytorch_lightning.Trainer"}
    for number, word in enumerate(words):
        option, equals, value = word.partition("=")
        value = value if equals else "".join(words[number + 1 : number + 2])
        if option in ("--model", "--data"):
            classes[option[2:]] = value
        elif option in ("-c", "--config"):
            classes |= _classes(value)
    known = [f"{group}.{name}" for group, path in classes.items() for name in _arguments(path)]
    return [*known, *classes, *_FIXED]


def _classes(file: str) -> dict[str, str]:
    """Classes of model and data that a file of settings names."""
    yaml = require("yaml", "A file of settings", "pyyaml")
    with suppress(OSError, yaml.YAMLError, AttributeError, TypeError, KeyError):
        settings = yaml.safe_load(Path(file).read_text("utf-8"))
        return {group: settings[group]["class_path"] for group in ("model", "data")}
    return {}


def _arguments(class_path: str) -> list[str]:
    """Arguments of a class's constructor; none if it cannot be had."""
    module, _, name = class_path.rpartition(".")
    try:
        return list(signature(getattr(import_module(module), name)).parameters)
    except (ImportError, AttributeError, TypeError, ValueError):
        return []


def _beside(class_path: str) -> list[str]:
    """What else the module of a class holds."""
    module, _, _ = class_path.rpartition(".")
    try:
        return [f"{module}.{name}" for name in vars(import_module(module))]
    except (ImportError, ValueError):
        return []


def _without_value(words: Sequence[str]) -> str:
    """The last option that is followed by none."""
    bare = [
        word
        for word, following in zip(words, [*words[1:], "--"], strict=True)
        if word.startswith("-") and "=" not in word and following.startswith("--") and word != "--print_config"
    ]
    return bare[-1] if bare else "an option"
