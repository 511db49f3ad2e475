"""What the values of command-line options may be: functions from a word to a value, named as argparse's errors say."""

from __future__ import annotations

import json
import os
from typing import Any


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


positive.__name__ = "whole number of at least 1"  # argparse names the type in its error


def amount(text: str) -> float:
    """A positive, finite number."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


amount.__name__ = "positive amount"


def rate_factor(text: str) -> int:
    """A constant rate factor of H.264."""
    number = int(text)
    if not 0 <= number <= 51:
        raise ValueError
    return number


rate_factor.__name__ = "rate factor (0 to 51)"


def share(text: str) -> float:
    """A number from 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise ValueError
    return number


share.__name__ = "number from 0 to 1"


def features(text: str) -> tuple[str, ...]:
    """Names of features, separated by commas."""
    names = tuple(text.split(","))
    if not {*names} <= {"audio", "frames", "clips", "faces"}:
        raise ValueError
    return names


features.__name__ = "list of features (audio,frames,clips,faces)"


def words(text: str) -> list[str]:
    """Names, separated by commas, in brackets or not."""
    found = (word.strip() for word in text.strip().removeprefix("[").removesuffix("]").split(","))
    return [word for word in found if word]


words.__name__ = "list of names"


def threshold(text: str) -> float | str:
    """A number, or the name of a .json file."""
    try:
        return float(text)
    except ValueError:
        if not text.endswith(".json"):
            raise
        return text


threshold.__name__ = "number or .json file"


def class_list(text: str) -> list[str] | str:
    """A file of class names, or the names themselves."""
    return text if os.path.isfile(text) else words(text)


def epochs(text: str) -> int | list[int]:
    """One number, or one for each of several stages, separated by commas."""
    numbers = [positive(part) for part in text.split(",")]
    return numbers[0] if len(numbers) == 1 else numbers


epochs.__name__ = "number of epochs (or several: 30,20,10)"


def setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE; a value is text where it is no number, list, true, false or null."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value


setting.__name__ = "setting (NAME=VALUE)"


def picture_size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT as (height, width)."""
    width, height = text.lower().split("x")
    return int(height), int(width)


picture_size.__name__ = "size (WIDTHxHEIGHT)"
