"""What each command does with its options; everything heavy is imported inside."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mediakit.errors import MediaError, MediakitError

if TYPE_CHECKING:
    from mediakit.colorize.predict import Options
    from mediakit.tracks import FaceTracks


def analyze(options: argparse.Namespace) -> None:
    """Writes what is in a file as a page, as data, or as its events."""
    from mediakit.analyze import analyze_file
    from mediakit.report import write_event_file, write_json, write_page

    if options.output is None and options.json is None and not options.events:
        options.output = Path(options.video).name + ".html"
    _check_models(options)
    _check_outputs(options.video, options.json, options.output, *options.events)
    analysis = analyze_file(
        options.video,
        faces=not options.no_faces,
        face_model=options.face_model,
        max_faces=options.max_faces,
        parsing=options.parsing,
        encoder_weights=_encoder_weights(options),
        deepfake=options.deepfake,
        colorize=options.colorize,
        progress=not options.quiet,
    )
    for text in analysis.warnings:
        print(f"mediakit: warning: {text}", file=sys.stderr)
    if analysis.deepfake is not None:
        print(f"{options.video}: {analysis.deepfake}")
    if options.json is not None:
        write_json(analysis, options.json)
        print(options.json)
    if options.output is not None:
        write_page(analysis, options.output)
        print(options.output)
    for path in options.events:
        write_event_file(analysis, path)
        print(path)


def _check_models(options: argparse.Namespace) -> None:
    from mediakit.parsing.event_files import check_ending

    if options.parsing is None and (options.events or _encoder_weights(options)):
        raise MediakitError("analyze: --events and weights of encoders need a parsing model: --parsing CKPT")
    if options.deepfake is not None and options.no_faces:
        raise MediakitError("analyze: --deepfake judges faces: leave out --no-faces")
    for path in options.events:
        check_ending(path)


def colorize(options: argparse.Namespace) -> int:
    """Colours a picture, a film or a folder; 1 if some files of a folder failed."""
    from dataclasses import fields

    from mediakit.colorize.predict import Options

    given = {k: v for k, v in vars(options).items() if v is not None}
    how = Options(**{field.name: given[field.name] for field in fields(Options) if field.name in given})
    try:
        return _colorize_folder(options, how) if Path(options.input).is_dir() else _colorize_file(options, how)
    except ValueError as error:
        raise MediakitError(f"colorize: {error}") from error


def _colorize_file(options: argparse.Namespace, how: Options) -> int:
    from mediakit.colorize.image import describe, load_colorizer
    from mediakit.colorize.predict import colorize_file
    from mediakit.ledger import write_json

    if any(value is not None for value in (options.workers, options.timeout, options.overwrite)):
        raise MediakitError("colorize: --workers, --timeout and --overwrite are for folders")
    page = f"{options.out}.html" if options.preview else None
    _check_outputs(options.input, options.out, page, options.json)
    module = load_colorizer(options.weights, options.device)
    model = describe(module, options.weights)
    result = colorize_file(
        module,
        options.input,
        options.out,
        how,
        audio=options.audio,
        preview=page,
        model=model,
        progress=not options.quiet,
    )
    for text in result.notes:
        print(f"mediakit: warning: {text}", file=sys.stderr)
    if options.json is not None:
        write_json(Path(options.json), result.to_dict())
    print(f"{options.out}: {result.told()}")
    for path in (page, options.json):
        if path is not None:
            print(path)
    return 0


def _colorize_folder(options: argparse.Namespace, how: Options) -> int:
    from mediakit.colorize.folder import colorize_folder

    if options.audio is not None or options.json is not None:
        raise MediakitError(
            "colorize: --audio and --json are for one file; films of a folder have their own sound, and the folder "
            "that is written has a colorize.json"
        )
    found = colorize_folder(
        options.input,
        options.out,
        options.weights,
        how,
        device=options.device,
        workers=options.workers or 1,
        timeout=options.timeout,
        overwrite=bool(options.overwrite),
        preview=options.preview,
        progress=not options.quiet,
    )
    for path, problem in found.failed:
        print(f"mediakit: {Path(options.input, path)}: {problem}", file=sys.stderr)
    if found.preview is not None:
        print(found.preview)
    print(
        f"{found.out}: {found.done} files in guessed colours ({found.resumed} of them from earlier runs), "
        f"{len(found.failed)} failed, {found.skipped} other passed over"
    )
    return 1 if found.failed else 0


def _encoder_weights(options: argparse.Namespace) -> dict[str, str]:
    given = {"audio": options.audio_weights, "frames": options.frame_weights, "clips": options.clip_weights}
    return {name: weights for name, weights in given.items() if weights is not None}


def _check_outputs(source: str, *targets: str | None) -> None:
    """Fails before the work that outputs cannot be written, or would replace the input or each other."""
    from mediakit.io import check_readable, check_writable

    taken = {check_readable(source).resolve(): "is the file to read"}
    for target in targets:
        if target is not None:
            if clash := taken.get(Path(target).resolve()):
                raise MediaError(target, f"cannot be written: it {clash}", "Name another file for the output.")
            check_writable(target)
            taken[Path(target).resolve()] = "is named for another output, too"


def extract(options: argparse.Namespace) -> int:
    """Turns a folder into features; 1 if some files failed."""
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


def build_clips(options: argparse.Namespace) -> int:
    """Turns a folder of films into a data set for colorization; 1 if some films failed."""
    from mediakit.colorize.clips.building import build_clips

    given = {k: v for k, v in vars(options).items() if k not in ("run", "folder", "out", "quiet") and v is not None}
    try:
        built = build_clips(options.folder, options.out, **given, progress=not options.quiet)
    except ValueError as error:
        raise MediakitError(f"build-clips: {error}") from error
    for path, problem in built.failed:
        print(f"mediakit: {Path(options.folder, path)}: {problem}", file=sys.stderr)
    print(
        f"{built}\n\n{built.out}: clips of {built.films} films ({built.resumed} of them from earlier runs), "
        f"{len(built.failed)} films failed; {built.out / 'left_out.csv'} lists what was left out"
    )
    return 1 if built.failed else 0


def generate(options: argparse.Namespace) -> None:
    """Makes videos whose truth is known."""
    from mediakit.synthetic.corpus import generate_clips

    given = {k: v for k, v in vars(options).items() if k not in ("run", "quiet") and v is not None}
    try:
        print(generate_clips(**given, progress=not options.quiet))
    except ValueError as error:
        raise MediakitError(f"generate {options.kind}: {error}") from error


def train_colorizer(options: argparse.Namespace) -> None:
    """Trains a colorizer and prints how it does on films that it has not seen."""
    from mediakit.colorize.stages import train_colorizer

    left_out = ("run", "folder", "out", "set", "quiet")
    given = {k: v for k, v in vars(options).items() if k not in left_out and v is not None}
    given |= dict(options.set)
    trained = train_colorizer(options.folder, options.out, **given, progress=not options.quiet)
    if trained.table:
        print(f"{trained.table}\n")
    for stage in trained.stages:
        print(f"{stage.checkpoint}: val/error {stage.error:.4g}" + (" (from an earlier run)" if stage.resumed else ""))
    print(trained.checkpoint)


def check_labels(options: argparse.Namespace) -> None:
    """Prints what is wrong in labels, and what they hold."""
    from mediakit.parsing.annotations.labels import check_labels

    print(check_labels(options.folder, options.format, options.version, options.classes))


def pseudo_label(options: argparse.Namespace) -> int:
    """Labels the seconds of videos by CLIP and CLAP; 1 if some files failed."""
    from mediakit.parsing.pseudo_labels.labelling import pseudo_label_folder
    from mediakit.parsing.pseudo_labels.recipe import read_by_class

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


def robustness(options: argparse.Namespace) -> None:
    """Writes how much of a face's motion survives compression."""
    from mediakit.deepfake.robustness_page import FILES, robustness_report

    def tell(name: str) -> None:
        if not options.quiet:
            print(f"{options.video}: {name}", file=sys.stderr, flush=True)

    found = robustness_report(
        options.video,
        options.out,
        options.crf,
        options.scale,
        deepfake=options.deepfake,
        face_model=options.face_model,
        progress=tell,
    )
    print(f"{options.video}: {found}")
    for name in FILES:
        print(Path(options.out, name))


def enroll(options: argparse.Namespace) -> None:
    """Writes how one person moves."""
    from mediakit.deepfake.person import PersonModel
    from mediakit.io import check_readable, check_writable

    for path in options.videos:
        check_readable(path)
    check_writable(options.output)

    def recordings() -> Iterator[FaceTracks]:
        for number, path in enumerate(options.videos, 1):
            if not options.quiet:
                print(f"{path} ({number} of {len(options.videos)})", file=sys.stderr, flush=True)
            yield _face_tracks(path, options.face_model)

    try:
        model = PersonModel.fit(recordings(), options.videos, options.seconds)
    except ValueError as error:
        raise MediakitError(f"enroll: {error}") from error
    model.save(options.output)
    print(f"{options.output}: {model}")


def verify(options: argparse.Namespace) -> None:
    """Prints how a recording compares with a person."""
    from mediakit.deepfake.person import PersonModel
    from mediakit.ledger import write_json

    model = PersonModel.load(options.person)
    if options.json is not None:
        _check_outputs(options.video, options.json)
    result = model.score(_face_tracks(options.video, options.face_model))
    print(f"{options.video}: {result}")
    if options.json is not None:
        write_json(Path(options.json), {"video": options.video, "person": options.person, **result.to_dict()})
        print(options.json)


def _face_tracks(path: str, face_model: str | None) -> FaceTracks:
    """Of a video, or as they were saved."""
    from mediakit.faces import track_faces
    from mediakit.tracks import FaceTracks

    return FaceTracks.load(path) if path.endswith(".safetensors") else track_faces(path, model=face_model)


def ablate(options: argparse.Namespace) -> None:
    """Trains and scores a method, its baselines and its ablations."""
    from mediakit.parsing.ablation.ablate import ablate_parsing

    given = {k: v for k, v in vars(options).items() if k not in ("run", "task", "quiet") and v is not None}
    print(ablate_parsing(**given, progress=not options.quiet))


def demo(options: argparse.Namespace) -> None:
    """Makes films, trains a small model and shows what they see."""
    from mediakit.demo import run_demo

    print(run_demo(options.out, workers=options.workers, progress=not options.quiet))


def _class_file(path: str) -> list[str]:
    """Names of classes, one a line."""
    from mediakit.io import read_text

    return [line.strip() for line in read_text(Path(path)).splitlines() if line.strip()]
