"""The command line: LightningCLI trains and tests, plain functions work on files.

Everything heavy is imported by the command that needs it, so that ``mediakit --help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mediakit import __version__
from mediakit.errors import MediaError, MediakitError

TRAINING = {
    "fit": "train a model (LightningCLI; see `mediakit fit --help`)",
    "validate": "score a model on the validation split",
    "test": "score a model on the test split",
    "predict": "run a model over a data module's items",
}

RECIPES = ("parsing",)
"""Tasks whose recipe comes with the package."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        args: Words of the command line without the program's name; None takes those of the process.

    Returns:
        Exit status: 0 done, 1 if some of many files failed, 2 for wrong usage or for input that cannot be used (one
        line on stderr says why), 130 when interrupted.
    """
    words = list(sys.argv[1:] if args is None else args)
    try:
        if words and words[0] in TRAINING:
            _train(words)
        else:
            options = _parser().parse_args(words)
            with _quiet_native_code():
                return options.run(options) or 0
    except MediakitError as error:
        print(f"mediakit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mediakit: interrupted", file=sys.stderr)
        return 130
    return 0


def run() -> None:
    """Entry point of the ``mediakit`` program."""
    # A polite kill cleans up like Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())


def _train(words: list[str]) -> None:
    from mediakit.base import BaseDataModule, BaseModule  # first: it makes torchvision importable

    from pytorch_lightning.cli import LightningCLI, SaveConfigCallback  # isort: skip

    words = _name_recipes(words)
    _check_checkpoint(words)
    sys.path.insert(0, os.getcwd())  # classes of one's own are found here, as with `python -m`
    # Two notes to programmers that a user at the command line can do nothing about.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    LightningCLI(
        BaseModule,
        BaseDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        # A run that is repeated in the same folder replaces its own record of settings instead of failing.
        save_config_kwargs={"overwrite": True},
        save_config_callback=SaveConfigCallback if words[0] == "fit" else None,
        args=words,
    )


def _name_recipes(words: list[str]) -> list[str]:
    """Puts the file in the place of a task's name: ``--config parsing`` takes the recipe that comes with the package."""
    from importlib.resources import files

    found = list(words)
    for number, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option not in ("-c", "--config"):
            continue
        at, name = (number, value) if equals else (number + 1, "".join(words[number + 1 : number + 2]))
        if name in RECIPES and not os.path.exists(name):
            recipe = str(files("mediakit").joinpath(name).joinpath("recipe.yaml"))
            found[at] = f"{option}={recipe}" if equals else recipe
    return found


def _check_checkpoint(words: list[str]) -> None:
    """Names a checkpoint that cannot be used before Lightning's traceback does, and says where none is given."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--ckpt_path")
    parser.add_argument("-c", "--config")
    known, _ = parser.parse_known_args(words[1:])
    if known.ckpt_path is not None and known.ckpt_path not in ("best", "last", "hpc", "null"):
        from mediakit.weights import read_checkpoint

        read_checkpoint(known.ckpt_path)
    elif words[0] != "fit" and known.ckpt_path is None and known.config is None and not {"-h", "--help"} & {*words}:
        print("mediakit: without --ckpt_path this runs the network as it is built, untrained", file=sys.stderr)


def _analyze(options: argparse.Namespace) -> None:
    from mediakit.analyze import analyze_file
    from mediakit.report import write_event_file, write_json, write_page

    if options.output is None and options.json is None and not options.events:
        options.output = Path(options.video).name + ".html"
    _check_events(options)
    _check_outputs(options.video, options.json, options.output, *options.events)
    analysis = analyze_file(
        options.video,
        faces=not options.no_faces,
        face_model=options.face_model,
        max_faces=options.max_faces,
        parsing=options.parsing,
        encoder_weights=_encoder_weights(options),
        progress=not options.quiet,
    )
    for text in analysis.warnings:
        print(f"mediakit: warning: {text}", file=sys.stderr)
    if options.json is not None:
        write_json(analysis, options.json)
        print(options.json)
    if options.output is not None:
        write_page(analysis, options.output)
        print(options.output)
    for path in options.events:
        write_event_file(analysis, path)
        print(path)


def _check_events(options: argparse.Namespace) -> None:
    from mediakit.parsing.event_files import check_ending

    if options.parsing is None and (options.events or _encoder_weights(options)):
        raise MediakitError("analyze: --events and weights of encoders need a parsing model: --parsing CKPT")
    for path in options.events:
        check_ending(path)


def _encoder_weights(options: argparse.Namespace) -> dict[str, str]:
    given = {"audio": options.audio_weights, "frames": options.frame_weights, "clips": options.clip_weights}
    return {name: weights for name, weights in given.items() if weights is not None}


def _check_outputs(source: str, *targets: str | None) -> None:
    """Fails before the work that outputs cannot be written, or would replace the input or each other."""
    from mediakit.io import check_readable, check_writable

    taken = {check_readable(source).resolve(): "is the file to analyze"}
    for target in targets:
        if target is not None:
            if clash := taken.get(Path(target).resolve()):
                raise MediaError(target, f"cannot be written: it {clash}", "Name another file for the output.")
            check_writable(target)
            taken[Path(target).resolve()] = "is named for another output, too"


def _extract(options: argparse.Namespace) -> int:
    from mediakit.extract import extract_folder

    given = {k: v for k, v in vars(options).items() if k not in ("run", "folder", "out", "quiet") and v is not None}
    for kind in ("audio", "frame", "clip"):
        if (model := given.get(f"{kind}_model")) and f"{kind}_weights" not in given:
            advice = f"--{kind}-weights pretrained, or a file, gives it trained ones"
            print(f"mediakit: warning: {model} has random weights; {advice}", file=sys.stderr)
    found = extract_folder(options.folder, options.out, **given, progress=not options.quiet)
    for path, problem in found.failed:
        print(f"mediakit: {Path(options.folder, path)}: {problem}", file=sys.stderr)
    print(
        f"{found.out}: features of {found.done} files ({found.resumed} of them from earlier runs), "
        f"{len(found.failed)} failed, {found.skipped} other passed over"
    )
    return 1 if found.failed else 0


def _generate(options: argparse.Namespace) -> None:
    from mediakit.synthetic.corpus import generate_clips

    given = {k: v for k, v in vars(options).items() if k not in ("run", "quiet") and v is not None}
    try:
        print(generate_clips(**given, progress=not options.quiet))
    except ValueError as error:
        raise MediakitError(f"generate {options.kind}: {error}") from error


def _check_labels(options: argparse.Namespace) -> None:
    from mediakit.parsing.labels import check_labels

    print(check_labels(options.folder, options.format, options.version, options.classes))


def _pseudo_label(options: argparse.Namespace) -> int:
    from mediakit.parsing.labelling import pseudo_label_folder
    from mediakit.parsing.pseudo import read_by_class

    left_out = ("run", "folder", "out", "labels", "quiet")
    given = {k: v for k, v in vars(options).items() if k not in left_out and v is not None}
    for name, value in given.items():
        if name.startswith(("threshold_", "prompt_")) and isinstance(value, str) and value.endswith(".json"):
            given[name] = read_by_class(value, float if name.startswith("threshold_") else str)
    if isinstance(given.get("classes"), str):
        given["classes"] = _class_file(given["classes"])
    if only := given.pop("only", None):
        given["modalities"] = (only,)
    found = pseudo_label_folder(options.folder, options.labels, options.out, **given, progress=not options.quiet)
    for finding in found.findings:
        print(f"mediakit: warning: {finding.file}:{finding.line}: {finding.problem}: {finding.done}", file=sys.stderr)
    if found.unlabelled:
        listed = ", ".join(found.unlabelled[:5]) + (", ..." if len(found.unlabelled) > 5 else "")
        told = f"{len(found.unlabelled)} files have no row in {options.labels} and got no pseudo-labels: {listed}"
        print(f"mediakit: warning: {told}", file=sys.stderr)
    for path, problem in found.failed:
        print(f"mediakit: {Path(options.folder, path)}: {problem}", file=sys.stderr)
    again = f", {found.relabelled} labelled anew from their similarities" if found.relabelled else ""
    print(
        f"{found.out}: pseudo-labels of {found.done} videos ({found.resumed} of them from earlier runs{again}), "
        f"{len(found.failed)} failed, {len(found.unlabelled)} without a weak label; {found.missing} labelled videos "
        "have no file"
    )
    return 1 if found.failed else 0


def _demo(options: argparse.Namespace) -> None:
    from mediakit.demo import run_demo

    print(run_demo(options.out, progress=not options.quiet))


@contextmanager
def _quiet_native_code() -> Iterator[None]:
    """Leaves standard error to Python: progress, warnings and errors still show, logs of C++ libraries do not.

    MediaPipe writes a handful of alarming lines to file descriptor 2 whenever a graph starts, whatever the environment
    says. What matters of them reaches us as exceptions.
    """
    stream = sys.stderr
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    try:
        ours = stream.fileno() == 2
    except (AttributeError, OSError, ValueError):  # replaced by something in memory, which stays
        ours = False
    stream.flush()
    with os.fdopen(saved, "w", encoding=stream.encoding, errors=stream.errors, buffering=1) as python_only:
        try:
            with open(os.devnull, "wb") as sink:
                os.dup2(sink.fileno(), 2)
            if ours:
                sys.stderr = python_only
            yield
        finally:
            sys.stderr = stream
            os.dup2(saved, 2)


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


def _features(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not {*names} <= {"audio", "frames", "clips", "faces"}:
        raise ValueError
    return names


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


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


def _class_file(path: str) -> list[str]:
    """Names of classes, one a line."""
    from mediakit.parsing.delimited import read_text

    return [line.strip() for line in read_text(Path(path)).splitlines() if line.strip()]


def _picture_size(text: str) -> tuple[int, int]:
    width, height = text.lower().split("x")
    return int(height), int(width)


_picture_size.__name__ = "size (WIDTHxHEIGHT)"

_features.__name__ = "list of features (audio,frames,clips,faces)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mediakit", description="Multi-task media forensics and understanding.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"mediakit {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    analyze = commands.add_parser("analyze", help="tell what is in a media file, as one page")
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
    analyze.add_argument("--no-faces", action="store_true", help="do not look for faces")
    analyze.add_argument("--face-model", metavar="FILE", help="face_landmarker.task, where MediaPipe bundles no model")
    analyze.add_argument("--max-faces", type=_positive, default=4, metavar="N", help="most faces a frame (default: 4)")
    analyze.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    analyze.set_defaults(run=_analyze)

    check = commands.add_parser("check-labels", help="say what is wrong in labels of events, and what they hold")
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
    check.set_defaults(run=_check_labels)

    demo = commands.add_parser("demo", help="make films whose truth is known, and pages about them; needs no network")
    demo.add_argument("--out", metavar="DIR", default="mediakit-demo", help="folder to write (default: mediakit-demo)")
    demo.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    demo.set_defaults(run=_demo)

    extract = commands.add_parser("extract", help="turn a folder of videos into features, resumable and in parallel")
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
    extract.set_defaults(run=_extract)

    generate = commands.add_parser("generate", help="make videos whose truth is known")
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
        if kind == "scenes":
            made.add_argument("--groups", type=_positive, metavar="N", help="number of groups (default: 4)")
            made.add_argument("--hue-from", choices=("class", "group"), help="what fixes the hue (default: class)")
            made.add_argument(
                "--recordings", metavar="PATTERN", help="sounds; the folder of each is its class: 'sounds/*/*.wav'"
            )
        made.add_argument("--workers", type=_positive, default=_cores(), metavar="N", help="processes (default: cores)")
        made.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
        made.set_defaults(run=_generate)

    pseudo = commands.add_parser("pseudo-label", help="label the seconds of videos by CLIP and CLAP (extra: pseudo)")
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
    pseudo.set_defaults(run=_pseudo_label)

    for name, text in TRAINING.items():  # listed here for --help; main() hands them to LightningCLI
        commands.add_parser(name, help=text, add_help=False)
    return parser
