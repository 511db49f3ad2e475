"""The commands of the command line with their options."""

from __future__ import annotations

import argparse

from mediakit import __version__, commands
from mediakit.option_types import (
    amount,
    class_list,
    cores,
    epochs,
    features,
    picture_size,
    positive,
    rate_factor,
    setting,
    share,
    threshold,
    words,
)

TRAINING = {
    "fit": "train a model (LightningCLI; see `mediakit fit --help`)",
    "validate": "score a model on the validation split",
    "test": "score a model on the test split",
    "predict": "run a model over a data module's items",
}


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
    parsing.add_argument("--seeds", type=positive, metavar="N", default=3, help="runs of each variant (default: 3)")
    parsing.add_argument(
        "--rows", type=words, metavar="LIST", help="some variants, named as in the table: 'HAN,MM-CSE' (default: all)"
    )
    parsing.add_argument(
        "--tune-all",
        action="store_true",
        help="tune every variant, not MM-CSE and HAN alone; four times the first seed",
    )
    parsing.add_argument(
        "--workers", type=positive, default=cores(), metavar="N", help="processes (default: number of cores)"
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
    analyze.add_argument(
        "--colorize", metavar="CKPT", help="if it is gray, colour some of its pictures with this colorizer"
    )
    analyze.add_argument("--no-faces", action="store_true", help="do not look for faces")
    analyze.add_argument("--face-model", metavar="FILE", help="face_landmarker.task, where MediaPipe bundles no model")
    analyze.add_argument("--max-faces", type=positive, default=4, metavar="N", help="most faces a frame (default: 4)")
    analyze.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    analyze.set_defaults(run=commands.analyze)

    build = subparsers.add_parser("build-clips", help="make a data set for colorization from a folder of films")
    build.add_argument("folder", metavar="FOLDER", help="colour films with sound, also in its sub-folders")
    build.add_argument("-o", "--out", metavar="DIR", required=True, help="folder to write the data set to")
    build.add_argument("--seconds", type=amount, metavar="N", help="length of a clip (default: 10)")
    build.add_argument("--shortest", type=amount, metavar="N", help="least length of a clip in seconds (default: 2)")
    build.add_argument("--size", type=positive, metavar="PIXELS", help="short side of the clips (default: the film's)")
    build.add_argument("--crf", type=rate_factor, metavar="N", help="rate factor of H.264, 0 to 51 (default: 18)")
    build.add_argument(
        "--min-colorfulness", type=float, metavar="X", help="below, a clip is nearly gray and left out (default: 15)"
    )
    build.add_argument(
        "--min-motion", type=float, metavar="X", help="gray levels; below, a clip is still and left out (default: 1)"
    )
    build.add_argument("--label-folders", action="store_true", help="the folder of a film names its label")
    build.add_argument("--seed", type=int, metavar="N", help="another seed gives another split (default: 0)")
    build.add_argument("--workers", type=positive, default=cores(), metavar="N", help="processes (default: cores)")
    build.add_argument("--timeout", type=amount, metavar="SECONDS", help="give up on a film after this time")
    build.add_argument("--overwrite", action="store_true", help="replace all that is in DIR")
    build.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    build.set_defaults(run=commands.build_clips)

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
        type=words,
        metavar="LIST",
        help="names of the classes of plain tables, or the key of a list (default: events, those of generated clips)",
    )
    check.set_defaults(run=commands.check_labels)

    color = subparsers.add_parser("colorize", help="guess the colours of a gray picture, a film or a folder of them")
    color.add_argument("input", metavar="IN", help="picture, film (its own sound guides it), or folder of both")
    color.add_argument("-o", "--out", metavar="OUT", required=True, help="file to write; of a folder, the folder")
    color.add_argument(
        "--weights", metavar="CKPT", required=True, help="the colorizer, a checkpoint of `mediakit train-colorizer`"
    )
    color.add_argument("--audio", metavar="FILE", help="sound of the scene, for one picture")
    color.add_argument("--guide", metavar="PHOTO", help="a colour photograph that guides instead of the sound")
    color.add_argument(
        "--audio-weight", type=share, metavar="X", help="how far the sound may count, 0 to 1 (default: 1)"
    )
    color.add_argument("--saturation", type=amount, metavar="X", help="factor of the chroma (default: 1)")
    color.add_argument("--bits", type=int, choices=(8, 16), help="of coloured pictures; 16: PNG, TIFF (default: 8)")
    color.add_argument(
        "--preview",
        action="store_true",
        help="also write a page, before and after: OUT.html; of a folder colorize.html",
    )
    color.add_argument("--json", metavar="FILE", help="also write what was done; a folder always has a colorize.json")
    color.add_argument(
        "--uncertainty",
        action="store_true",
        default=None,
        help="measure how far the guess of a picture depends on input size and dropout",
    )
    color.add_argument("--crf", type=rate_factor, metavar="N", help="rate factor of films, 0 to 51 (default: 18)")
    color.add_argument(
        "--full-chroma", action="store_true", default=None, help="films in 4:4:4, truer to lightness; not all play it"
    )
    color.add_argument(
        "--unsteady", dest="steady", action="store_false", default=None, help="each frame of a film by itself"
    )
    color.add_argument(
        "--tile",
        dest="tile_pixels",
        type=positive,
        metavar="PIXELS",
        help="worked on at a time; changes no result",
    )
    color.add_argument("--seed", type=int, metavar="N", help="of the uncertainty's dropout (default: 0)")
    color.add_argument("--device", metavar="NAME", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    color.add_argument("--workers", type=positive, metavar="N", help="processes for a folder (default: 1)")
    color.add_argument("--timeout", type=amount, metavar="SECONDS", help="give up on a folder's file after this time")
    color.add_argument(
        "--overwrite", action="store_true", default=None, help="colour a folder anew, whatever OUT holds"
    )
    color.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    color.set_defaults(run=commands.colorize)

    demo = subparsers.add_parser("demo", help="make films, train small models, show what they see; needs no network")
    demo.add_argument("--out", metavar="DIR", default="mediakit-demo", help="folder to write (default: mediakit-demo)")
    demo.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    demo.add_argument("--workers", type=positive, default=cores(), metavar="N", help="processes (default: cores)")
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
        "--seconds", type=amount, metavar="N", default=10.0, help="length of what is compared (default: 10)"
    )
    enroll.add_argument("--face-model", metavar="FILE", help="face_landmarker.task, where MediaPipe bundles no model")
    enroll.add_argument("-q", "--quiet", action="store_true", help="do not tell what is done")
    enroll.set_defaults(run=commands.enroll)

    extract = subparsers.add_parser("extract", help="turn a folder of videos into features, resumable and in parallel")
    extract.add_argument("folder", metavar="FOLDER", help="videos and sound files, also in its sub-folders")
    extract.add_argument("--out", metavar="DIR", required=True, help="folder to write the features to")
    extract.add_argument(
        "--features", metavar="LIST", type=features, help="some of audio,frames,clips,faces (default: all)"
    )
    for kind, networks in (("audio", "timm's"), ("frame", "timm's"), ("clip", "torchvision's video networks")):
        extract.add_argument(
            f"--{kind}-model", metavar="NAME", help=f"{kind} network: reference (default) or one of {networks}"
        )
        extract.add_argument(
            f"--{kind}-weights", metavar="WEIGHTS", help="of a named network: 'pretrained', a tag, a file; else random"
        )
    extract.add_argument("--seed", type=int, metavar="N", help="seed of random weights (default: 0)")
    extract.add_argument("--frame-rate", type=amount, metavar="FPS", help="frames a second (default: 1)")
    extract.add_argument("--face-model", metavar="FILE", help="face_landmarker.task, where MediaPipe bundles no model")
    extract.add_argument("--max-faces", type=positive, metavar="N", help="most faces a frame (default: 4)")
    extract.add_argument(
        "--workers", type=positive, default=cores(), metavar="N", help="processes (default: number of cores)"
    )
    extract.add_argument("--timeout", type=amount, metavar="SECONDS", help="give up on a file after this time")
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
        made.add_argument("--count", type=positive, metavar="N", default=10, help="number of clips (default: 10)")
        made.add_argument("--seed", type=int, metavar="N", help="another seed gives other clips (default: 0)")
        made.add_argument("--split", choices=("train", "val", "test"), help="whose kinds to draw from (default: train)")
        made.add_argument("--seconds", type=positive, metavar="N", help="length of a clip (default: 10; heads: 6)")
        made.add_argument("--size", type=picture_size, metavar="WxH", help="width and height of the pictures")
        made.add_argument("--fps", type=positive, metavar="N", help="frames a second")
        if kind == "heads":
            made.add_argument(
                "--kinds",
                type=words,
                metavar="LIST",
                help="some of real, region_lag, expression_swap, jitter, oversmooth, contour_slide and, for the test "
                "split only, face_blend, reenactment (default: all of the split)",
            )
            made.add_argument("--identities", type=positive, metavar="N", help="number of people (default: 12)")
            made.add_argument(
                "--pairs", action="store_true", default=None, help="one twin of each genuine clip, kinds by turns"
            )
        if kind == "scenes":
            made.add_argument("--groups", type=positive, metavar="N", help="number of groups (default: 4)")
            made.add_argument("--hue-from", choices=("class", "group"), help="what fixes the hue (default: class)")
            made.add_argument(
                "--recordings", metavar="PATTERN", help="sounds; the folder of each is its class: 'sounds/*/*.wav'"
            )
        made.add_argument("--workers", type=positive, default=cores(), metavar="N", help="processes (default: cores)")
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
        type=class_list,
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
            type=threshold,
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
    pseudo.add_argument("--workers", type=positive, metavar="N", help="processes, each with both networks (default: 1)")
    pseudo.add_argument("--timeout", type=amount, metavar="SECONDS", help="give up on a file after this time")
    pseudo.add_argument("--overwrite", action="store_true", help="replace all pseudo-labels that are in DIR")
    pseudo.add_argument("--use-damaged", action="store_true", help="take what is intact of damaged files")
    pseudo.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    pseudo.set_defaults(run=commands.pseudo_label)

    robust = subparsers.add_parser("robustness", help="say how much of a face's motion survives compression")
    robust.add_argument("video", metavar="VIDEO", help="a film in which one face is followed for a second or longer")
    robust.add_argument("-o", "--out", metavar="DIR", required=True, help="folder to write the page and its numbers to")
    robust.add_argument(
        "--crf",
        type=rate_factor,
        nargs="+",
        metavar="N",
        default=[23, 32, 40],
        help="rate factors of libx264, 0 to 51 (default: 23 32 40)",
    )
    robust.add_argument(
        "--scale",
        type=amount,
        nargs="*",
        metavar="X",
        default=[0.5],
        help="factors of width and height, each at the first rate factor (default: 0.5)",
    )
    robust.add_argument("--deepfake", metavar="CKPT", help="also tell this detector's verdict on each version")
    robust.add_argument("--face-model", metavar="FILE", help="face_landmarker.task, where MediaPipe bundles no model")
    robust.add_argument("-q", "--quiet", action="store_true", help="do not tell what is done")
    robust.set_defaults(run=commands.robustness)

    trained = subparsers.add_parser("train-colorizer", help="train the three stages of a colorizer on colour films")
    trained.add_argument("folder", metavar="FOLDER", help="colour films with sound, or what `build-clips` made of some")
    trained.add_argument("-o", "--out", metavar="DIR", required=True, help="folder of the run, to write or to go on in")
    trained.add_argument(
        "--layout", choices=("clips", "folder", "vggsound", "ave"), help="of FOLDER (default: clips or folder)"
    )
    trained.add_argument("--annotations", metavar="FILE", help="vggsound.csv or Annotations.txt, if not in FOLDER")
    trained.add_argument("--size", type=positive, metavar="PIXELS", help="of the pictures learnt from (default: 256)")
    trained.add_argument("--epochs", type=epochs, metavar="N", help="of each stage, or 30,20,10 (default: 30)")
    trained.add_argument("--batch-size", type=positive, metavar="N", help="clips a step (default: 16)")
    trained.add_argument("--seed", type=int, metavar="N", help="of networks, splits and order (default: 0)")
    for name, default in (("gray", "resnet34"), ("semantic", "resnet18"), ("audio", "resnet18")):
        trained.add_argument(f"--{name}-encoder", metavar="NAME", help=f"network of timm's (default: {default})")
        trained.add_argument(
            f"--{name}-weights", metavar="WEIGHTS", help="its weights: 'pretrained', a tag, a file (default: random)"
        )
    trained.add_argument(
        "--set",
        type=setting,
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="any other argument of ColorizeModule or ColorizeDataModule, such as lr=1e-4; may be repeated",
    )
    trained.add_argument("--accelerator", metavar="NAME", help="cpu, gpu, ... (default: a GPU if there is one)")
    trained.add_argument("--workers", type=positive, default=cores(), metavar="N", help="decoding processes")
    trained.add_argument("--num-workers", type=int, metavar="N", help="loader processes (default: 0)")
    trained.add_argument("--overwrite", action="store_true", help="train anew, whatever is in DIR")
    trained.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    trained.set_defaults(run=commands.train_colorizer)

    verify = subparsers.add_parser("verify", help="say whether somebody moves like a person that was enrolled")
    verify.add_argument("video", metavar="VIDEO", help="recording that claims to be of the person, or its face tracks")
    verify.add_argument("--person", metavar="FILE", required=True, help="what `mediakit enroll` wrote")
    verify.add_argument("--json", metavar="FILE", help="also write the findings as JSON")
    verify.add_argument("--face-model", metavar="FILE", help="face_landmarker.task, where MediaPipe bundles no model")
    verify.set_defaults(run=commands.verify)

    for name, text in TRAINING.items():  # listed here for --help; main() hands them to LightningCLI
        subparsers.add_parser(name, help=text, add_help=False)
    return program
