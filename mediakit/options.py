"""The commands of the command line with their options, and the types that these have."""

from __future__ import annotations

import argparse
import os

from mediakit import __version__, commands

TRAINING = {
    "fit": "train a model (LightningCLI; see `mediakit fit --help`)",
    "validate": "score a model on the validation split",
    "test": "score a model on the test split",
    "predict": "run a model over a data module's items",
}


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_positive.__name__ = "whole number of at least 1"  # argparse names the type in its error


def _amount(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


_amount.__name__ = "positive amount"


def _rate_factor(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 51:
        raise ValueError
    return number


_rate_factor.__name__ = "rate factor (0 to 51)"


def _features(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not {*names} <= {"audio", "frames", "clips", "faces"}:
        raise ValueError
    return names


def _words(text: str) -> list[str]:
    words = (word.strip() for word in text.strip().removeprefix("[").removesuffix("]").split(","))
    return [word for word in words if word]


_words.__name__ = "list of names"


def _threshold(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        if not text.endswith(".json"):
            raise
        return text


_threshold.__name__ = "number or .json file"


def _class_list(text: str) -> list[str] | str:
    return text if os.path.isfile(text) else _words(text)


def _picture_size(text: str) -> tuple[int, int]:
    width, height = text.lower().split("x")
    return int(height), int(width)


_picture_size.__name__ = "size (WIDTHxHEIGHT)"

_features.__name__ = "list of features (audio,frames,clips,faces)"


def parser() -> argparse.ArgumentParser:
    """All commands; each sets ``run``, the function of `mediakit.commands` that takes its options."""
    program = argparse.ArgumentParser(
        prog="mediakit", description="Multi-task media forensics and understanding.", allow_abbrev=False
    )
    program.add_argument("--version", action="version", version=f"mediakit {__version__}")
    subparsers = program.add_subparsers(metavar="COMMAND", required=True)

    ablate = subparsers.add_parser("ablate", help="compare a method with its baselines and with each of its parts off")
    tasks = ablate.add_subparsers(metavar="TASK", required=True, dest="task")
    parsing = tasks.add_parser("parsing", help="MM-CSE, HAN, each block and each loss off, over several seeds")
    parsing.add_argument("--size", choices=("small", "paper"), default="small", help="of the runs (default: small)")
    parsing.add_argument(
        "--out", metavar="DIR", default="runs/ablation", help="folder to write, or to go on in (default: runs/ablation)"
    )
    parsing.add_argument("--labels", metavar="DIR", help="LLP's annotation files (default: labels drawn like them)")
    parsing.add_argument("--features", metavar="DIR", help="features of LLP (default: drawn ones, LLP-sim)")
    parsing.add_argument("--pseudo-labels", metavar="DIR", help="pseudo-labels that go with --features")
    parsing.add_argument("--seeds", type=_positive, metavar="N", default=3, help="runs of each variant (default: 3)")
    parsing.add_argument(
        "--rows", type=_words, metavar="LIST", help="some variants, named as in the table: 'HAN,MM-CSE' (default: all)"
    )
    parsing.add_argument(
        "--tune-all",
        action="store_true",
        help="tune every variant, not MM-CSE and HAN alone; four times the first seed",
    )
    parsing.add_argument(
        "--workers", type=_positive, default=_cores(), metavar="N", help="processes (default: number of cores)"
    )
    parsing.add_argument("-q", "--quiet", action="store_true", help="do not tell what is done")
    parsing.set_defaults(run=commands.ablate)

    analyze = subparsers.add_parser("analyze", help="tell what is in a media file, as one page")
    analyze.add_argument("video", metavar="VIDEO", help="video, sound or image file")
    analyze.add_argument(
        "-o", "--output", metavar="PAGE", help="page to write (default: VIDEO's name and .html, in this folder)"
    )
    analyze.add_argument("--json", metavar="FILE", help="also write the findings as JSON (alone: no page)")
    analyze.add_argument(
        "--parsing", metavar="CKPT", help="find events with this parsing model, a checkpoint of `mediakit fit`"
    )
    analyze.add_argument(
        "--events",
        metavar="FILE",
        action="append",
        default=[],
        help="also write its events, as the ending says: .json, .csv or .vtt; may be repeated (alone: no page)",
    )
    for kind in ("audio", "frame", "clip"):
        analyze.add_argument(
            f"--{kind}-weights", metavar="FILE", help=f"weight file of the {kind} encoder that CKPT was trained with"
        )
    analyze.add_argument(
        "--deepfake", metavar="CKPT", help="judge its faces with this detector, a checkpoint of `mediakit fit`"
    )
    analyze.add_argument("--no-faces", action="store_true", help="do not look for faces")
    analyze.add_argument("--face-model", metavar="FILE", help="face_landmarker.task, where MediaPipe bundles no model")
    analyze.add_argument("--max-faces", type=_positive, default=4, metavar="N", help="most faces a frame (default: 4)")
    analyze.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    analyze.set_defaults(run=commands.analyze)

    check = subparsers.add_parser("check-labels", help="say what is wrong in labels of events, and what they hold")
    check.add_argument("folder", metavar="FOLDER", help="annotation files of LLP, AVE or UnAV-100, or plain tables")
    check.add_argument(
        "--format", choices=("llp", "folder", "ave", "unav"), help="kind of files (default: what their names say)"
    )
    check.add_argument(
        "--version", choices=("2020", "2024"), default="2020", help="of LLP's audio events (default: 2020)"
    )
    check.add_argument(
        "--classes",
        type=_words,
        metavar="LIST",
        help="names of the classes of plain tables, or the key of a list (default: events, those of generated clips)",
    )
    check.set_defaults(run=commands.check_labels)

    demo = subparsers.add_parser("demo", help="make films, train small models, show what they see; needs no network")
    demo.add_argument("--out", metavar="DIR", default="mediakit-demo", help="folder to write (default: mediakit-demo)")
    demo.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    demo.add_argument("--workers", type=_positive, default=_cores(), metavar="N", help="processes (default: cores)")
    demo.set_defaults(run=commands.demo)

    enroll = subparsers.add_parser("enroll", help="learn from genuine recordings how one person moves")
    enroll.add_argument(
        "videos",
        metavar="VIDEO",
        nargs="+",
        help="recordings of one person, each of another occasion, 3 or more, better 20; or face tracks (.safetensors)",
    )
    enroll.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write (.safetensors)")
    enroll.add_argument(
        "--seconds", type=_amount, metavar="N", default=10.0, help="length of what is compared (default: 10)"
    )
    enroll.add_argument("--face-model", metavar="FILE", help="face_landmarker.task, where MediaPipe bundles no model")
    enroll.add_argument("-q", "--quiet", action="store_true", help="do not tell what is done")
    enroll.set_defaults(run=commands.enroll)

    extract = subparsers.add_parser("extract", help="turn a folder of videos into features, resumable and in parallel")
    extract.add_argument("folder", metavar="FOLDER", help="videos and sound files, also in its sub-folders")
    extract.add_argument("--out", metavar="DIR", required=True, help="folder to write the features to")
    extract.add_argument(
        "--features", metavar="LIST", type=_features, help="some of audio,frames,clips,faces (default: all)"
    )
    for kind, networks in (("audio", "timm's"), ("frame", "timm's"), ("clip", "torchvision's video networks")):
        extract.add_argument(
            f"--{kind}-model", metavar="NAME", help=f"{kind} network: reference (default) or one of {networks}"
        )
        extract.add_argument(
            f"--{kind}-weights", metavar="WEIGHTS", help="of a named network: 'pretrained', a tag, a file; else random"
        )
    extract.add_argument("--seed", type=int, metavar="N", help="seed of random weights (default: 0)")
    extract.add_argument("--frame-rate", type=_amount, metavar="FPS", help="frames a second (default: 1)")
    extract.add_argument("--face-model", metavar="FILE", help="face_landmarker.task, where MediaPipe bundles no model")
    extract.add_argument("--max-faces", type=_positive, metavar="N", help="most faces a frame (default: 4)")
    extract.add_argument(
        "--workers", type=_positive, default=_cores(), metavar="N", help="processes (default: number of cores)"
    )
    extract.add_argument("--timeout", type=_amount, metavar="SECONDS", help="give up on a file after this time")
    extract.add_argument("--overwrite", action="store_true", help="replace all features that are in DIR")
    extract.add_argument("--use-damaged", action="store_true", help="take what is intact of damaged files")
    extract.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    extract.set_defaults(run=commands.extract)

    generate = subparsers.add_parser("generate", help="make videos whose truth is known")
    kinds = generate.add_subparsers(metavar="KIND", required=True, dest="kind")
    for kind, text in (
        ("events", "10 s with events that are heard, seen or both"),
        ("heads", "talking heads, and manipulated twins of them"),
        ("scenes", "scenes whose sound tells what their gray does not"),
    ):
        made = kinds.add_parser(kind, help=text)
        made.add_argument("--out", metavar="DIR", required=True, help="folder to write to")
        made.add_argument("--count", type=_positive, metavar="N", default=10, help="number of clips (default: 10)")
        made.add_argument("--seed", type=int, metavar="N", help="another seed gives other clips (default: 0)")
        made.add_argument("--split", choices=("train", "val", "test"), help="whose kinds to draw from (default: train)")
        made.add_argument("--seconds", type=_positive, metavar="N", help="length of a clip (default: 10; heads: 6)")
        made.add_argument("--size", type=_picture_size, metavar="WxH", help="width and height of the pictures")
        made.add_argument("--fps", type=_positive, metavar="N", help="frames a second")
        if kind == "heads":
            made.add_argument(
                "--kinds",
                type=_words,
                metavar="LIST",
                help="some of real, region_lag, expression_swap, jitter, oversmooth, contour_slide and, for the test "
                "split only, face_blend, reenactment (default: all of the split)",
            )
            made.add_argument("--identities", type=_positive, metavar="N", help="number of people (default: 12)")
            made.add_argument(
                "--pairs", action="store_true", default=None, help="one twin of each genuine clip, kinds by turns"
            )
        if kind == "scenes":
            made.add_argument("--groups", type=_positive, metavar="N", help="number of groups (default: 4)")
            made.add_argument("--hue-from", choices=("class", "group"), help="what fixes the hue (default: class)")
            made.add_argument(
                "--recordings", metavar="PATTERN", help="sounds; the folder of each is its class: 'sounds/*/*.wav'"
            )
        made.add_argument("--workers", type=_positive, default=_cores(), metavar="N", help="processes (default: cores)")
        made.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
        made.set_defaults(run=commands.generate)

    pseudo = subparsers.add_parser("pseudo-label", help="label the seconds of videos by CLIP and CLAP (extra: pseudo)")
    pseudo.add_argument("folder", metavar="VIDEOS", help="folder of videos, also in its sub-folders")
    pseudo.add_argument(
        "--labels", metavar="LABELS", required=True, help="which classes a video has: a table, or a folder of labels"
    )
    pseudo.add_argument("--out", metavar="DIR", required=True, help="folder to write audio/ID.npy and visual/ID.npy to")
    pseudo.add_argument(
        "--classes",
        metavar="LIST",
        type=_class_list,
        help="llp, ave, unav, events, a file with a name in each line, or names (default: what comes with the labels)",
    )
    pseudo.add_argument("--clip-model", metavar="NAME", help="of open_clip, or a folder (default: ViT-L-14-quickgelu)")
    pseudo.add_argument("--clip-weights", metavar="WEIGHTS", help="a tag of open_clip, or a file (default: openai)")
    pseudo.add_argument(
        "--clap-model", metavar="NAME", help="on the hub, or a folder (default: laion/clap-htsat-fused)"
    )
    pseudo.add_argument("--only", choices=("audio", "visual"), help="for which the other's network is not needed")
    for modality, usual in (("audio", 2), ("visual", 15)):
        pseudo.add_argument(
            f"--threshold-{modality}",
            metavar="X",
            type=_threshold,
            help="similarity from which a class counts, or a .json file with one by class (default: those of VALOR for "
            f"the classes of LLP, {usual} for others)",
        )
    for modality, sentence in (("audio", "This is a sound of {label}"), ("visual", "A photo of {label}.")):
        pseudo.add_argument(
            f"--prompt-{modality}",
            metavar="TEXT",
            help="sentence that stands for a class, or a .json file with one by class (default: those of VALOR for the "
            f"classes of LLP, '{sentence}' for others)",
        )
    pseudo.add_argument(
        "--similarities", action="store_true", help="keep them, so that thresholds can be changed at no cost"
    )
    pseudo.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    pseudo.add_argument(
        "--workers", type=_positive, metavar="N", help="processes, each with both networks (default: 1)"
    )
    pseudo.add_argument("--timeout", type=_amount, metavar="SECONDS", help="give up on a file after this time")
    pseudo.add_argument("--overwrite", action="store_true", help="replace all pseudo-labels that are in DIR")
    pseudo.add_argument("--use-damaged", action="store_true", help="take what is intact of damaged files")
    pseudo.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    pseudo.set_defaults(run=commands.pseudo_label)

    robust = subparsers.add_parser("robustness", help="say how much of a face's motion survives compression")
    robust.add_argument("video", metavar="VIDEO", help="a film in which one face is followed for a second or longer")
    robust.add_argument("-o", "--out", metavar="DIR", required=True, help="folder to write the page and its numbers to")
    robust.add_argument(
        "--crf",
        type=_rate_factor,
        nargs="+",
        metavar="N",
        default=[23, 32, 40],
        help="rate factors of libx264, 0 to 51 (default: 23 32 40)",
    )
    robust.add_argument(
        "--scale",
        type=_amount,
        nargs="*",
        metavar="X",
        default=[0.5],
        help="factors of width and height, each at the first rate factor (default: 0.5)",
    )
    robust.add_argument("--deepfake", metavar="CKPT", help="also tell this detector's verdict on each version")
    robust.add_argument("--face-model", metavar="FILE", help="face_landmarker.task, where MediaPipe bundles no model")
    robust.add_argument("-q", "--quiet", action="store_true", help="do not tell what is done")
    robust.set_defaults(run=commands.robustness)

    verify = subparsers.add_parser("verify", help="say whether somebody moves like a person that was enrolled")
    verify.add_argument("video", metavar="VIDEO", help="recording that claims to be of the person, or its face tracks")
    verify.add_argument("--person", metavar="FILE", required=True, help="what `mediakit enroll` wrote")
    verify.add_argument("--json", metavar="FILE", help="also write the findings as JSON")
    verify.add_argument("--face-model", metavar="FILE", help="face_landmarker.task, where MediaPipe bundles no model")
    verify.set_defaults(run=commands.verify)

    for name, text in TRAINING.items():  # listed here for --help; main() hands them to LightningCLI
        subparsers.add_parser(name, help=text, add_help=False)
    return program
