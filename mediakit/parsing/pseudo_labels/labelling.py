"""A folder of videos to a folder of segment pseudo-labels: in several processes, resumable, with a manifest.

Like ``mediakit extract``, a video that is done is not done again. Where its similarities lie on the disk, other
thresholds and another weak label cost no second look at the video.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from mediakit.errors import MediaError, MediakitError
from mediakit.extract import find_media
from mediakit.io import sha256
from mediakit.io.files import StrPath
from mediakit.jobs import do_files, run_jobs
from mediakit.ledger import claimed, sweep
from mediakit.onepass import Encoders, extract_file
from mediakit.parsing.annotations.tables import Finding
from mediakit.parsing.pseudo_labels import label_files
from mediakit.parsing.pseudo_labels.label_files import Record, Thresholds
from mediakit.parsing.pseudo_labels.recipe import MODALITIES, class_prompts, class_thresholds, similarity
from mediakit.parsing.pseudo_labels.weak import match_rows, weak_labels
from mediakit.parsing.pseudo_labels.zero_shot import CLAP_MODEL, CLIP_MODEL, ClapTeacher, ClipTeacher

Threshold = float | Mapping[str, float] | None

_FEATURE = {"audio": "audio", "visual": "frames"}
_NOTHING_THERE = ("has no sound", "has no pictures")


@dataclass(frozen=True)
class Labelling:
    """How a run went.

    Attributes:
        out: The folder of pseudo-labels.
        done: Videos whose pseudo-labels are there now.
        resumed: How many of them were there before, and fit.
        relabelled: How many were made anew from their similarities.
        failed: Relative path and problem of each file that could not be used.
        unlabelled: Relative path of each file that has no weak label, and so no pseudo-labels.
        missing: How many videos have a weak label and no file.
        findings: What is wrong in the table of weak labels.
    """

    out: Path
    done: int
    resumed: int
    relabelled: int
    failed: tuple[tuple[str, str], ...]
    unlabelled: tuple[str, ...]
    missing: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Settings:
    classes: tuple[str, ...]
    prompts: tuple[tuple[str, tuple[str, ...]], ...]  # by modality
    clip: tuple[str, str | None]
    clap: str
    device: str


@dataclass(frozen=True)
class _Job:
    source: str
    path: str  # relative, with /
    id: str
    weak: tuple[str, ...]  # classes
    out: str
    settings: _Settings
    thresholds: tuple[tuple[str, tuple[float, ...]], ...]  # by modality
    fingerprint: str
    similarities: bool
    use_damaged: bool


def pseudo_label_folder(
    folder: StrPath,
    labels: StrPath,
    out: StrPath,
    *,
    classes: str | Sequence[str] | None = None,
    modalities: Sequence[str] = MODALITIES,
    clip_model: str = CLIP_MODEL,
    clip_weights: str | None = None,
    clap_model: str = CLAP_MODEL,
    threshold_audio: Threshold = None,
    threshold_visual: Threshold = None,
    prompt_audio: str | Mapping[str, str] | None = None,
    prompt_visual: str | Mapping[str, str] | None = None,
    similarities: bool = False,
    device: str | None = None,
    workers: int = 1,
    timeout: float | None = None,
    overwrite: bool = False,
    use_damaged: bool = False,
    progress: bool = False,
) -> Labelling:
    """Makes segment pseudo-labels of all videos in a folder and its sub-folders that have a weak label.

    Each second's sound and the picture in its middle are compared with a sentence for each class; what is more similar
    than the class's threshold, and in the video's weak label, is labelled (VALOR, NeurIPS 2023; see
    `mediakit.parsing.pseudo_labels.recipe`). A file has as many seconds as `.extract_file` makes features for; one
    without sound (or pictures) has no audio (or visual) labels set.

    Files that earlier runs finished are not done again, as long as their content and the settings are the same; files
    that failed are tried again. A script that calls this needs the guard ``if __name__ == "__main__":``, because worker
    processes import it.

    Args:
        folder: The videos. A file's id is its path inside the folder without its ending.
        labels: The weak labels: a table ``filename, event_labels``, or a folder as `.read_labels` knows them. A file
            belongs to the row of its id; a row ``<11 characters>_<start>_<end>``, as LLP has them, also to a file that
            is called by the 11 characters.
        out: Folder to write ``audio/ID.npy`` and ``visual/ID.npy`` to, uint8 (T, K) each; made if it is not there.
        classes: Key of `.CLASS_LISTS` or the names; None for those of the labels' format (of a table: LLP's).
        modalities: Which of audio and visual.
        clip_model: See `.ClipTeacher`.
        clip_weights: See `.ClipTeacher`.
        clap_model: See `.ClapTeacher`.
        threshold_audio: One for all classes, or by class; see `.class_thresholds`.
        threshold_visual: Likewise.
        prompt_audio: Sentence with ``{label}``, or sentences by class; see `.class_prompts`.
        prompt_visual: Likewise.
        similarities: Write ``similarities/{audio,visual}/ID.npy``, float32 (T, K), too.
        device: Where the networks compute; None for a GPU, if there is one.
        workers: Number of processes; each holds both networks.
        timeout: Seconds after which a file is given up; None for never.
        overwrite: Replace all that earlier runs left in ``out``, whatever made it.
        use_damaged: Take what is intact of a damaged file; else it counts as failed.
        progress: Whether to show progress with the time left on stderr.

    Returns:
        What was done, and what failed.

    Raises:
        MediaError: A folder or the labels cannot be read, ``out`` cannot be written or is in use.
        MediakitError: No file has a weak label; ``out`` holds pseudo-labels made otherwise; a network cannot be had.
        ValueError: An option is out of range.
    """
    folder, out, labels = Path(folder), Path(out), Path(labels)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if isinstance(modalities, str) or not modalities or not {*modalities} <= {*MODALITIES}:
        raise ValueError(f"modalities must be some of {', '.join(MODALITIES)}, got {modalities!r}")
    wanted = tuple(name for name in MODALITIES if name in modalities)
    names, weak, findings = weak_labels(labels, classes)
    given = {"audio": (threshold_audio, prompt_audio), "visual": (threshold_visual, prompt_visual)}
    thresholds = {name: class_thresholds(names, name, given[name][0]) for name in wanted}
    prompts = tuple((name, class_prompts(names, name, given[name][1])) for name in wanted)
    settings = _Settings(names, prompts, (clip_model, clip_weights), clap_model, _device(device))
    if not folder.is_dir() or folder.resolve() == out.resolve():
        raise MediaError(folder, "is no folder of videos apart from the output", "Name two folders.")
    sources, _ = find_media(folder, out)
    rows = match_rows(sources, weak)
    if not rows:
        example = f"the labels name {min(weak)!r}, the videos are {min(sources)!r}"
        raise MediakitError(f"{labels}: none of the videos in {folder} has a row in it ({example}, ...).")
    with claimed(out):
        made = _describe(settings)
        fingerprint = label_files.settle(out, made, thresholds, overwrite)
        shared = (str(out), settings, tuple(thresholds.items()), fingerprint, similarities, use_damaged)
        jobs = [
            _Job(str(folder / sources[id]), sources[id], id, weak[row], *shared) for id, row in sorted(rows.items())
        ]
        known, relabelled = _known(out, jobs, workers, thresholds, progress)
        resumed = len(known) - relabelled
        left = [job for job in jobs if job.id not in known]
        work = run_jobs(_label, left, workers=workers, timeout=timeout, initializer=_teachers, initargs=(settings,))
        try:
            failures = do_files(work, known, len(jobs), resumed, "videos", progress)
        finally:
            sweep(out, label_files.FOLDERS)  # workers that were stopped
        unlabelled = sorted(path for id, path in sources.items() if id not in rows)
        label_files.write_manifest(out, made, thresholds, labels.name, known, failures, unlabelled)
    missing = len(weak.keys() - {*rows.values()})
    return Labelling(out, len(known), resumed, relabelled, tuple(failures), tuple(unlabelled), missing, findings)


def _device(name: str | None) -> str:
    """A device that can be used; None for a GPU, if there is one."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise MediakitError(f"device: {name!r} cannot be used here ({str(error).partition(chr(10))[0]})") from error
    return name


def _describe(settings: _Settings) -> dict[str, Any]:
    """What makes the pseudo-labels, as plain values; fails here if a network cannot be had."""
    teachers = _teachers(settings)
    told = {
        modality: {"card": teachers[modality][0].card(), "prompts": list(sentences)}
        for modality, sentences in settings.prompts
    }
    _teachers.cache_clear()  # this process only needs their cards
    return {"classes": list(settings.classes), "teachers": told}


@lru_cache(maxsize=1)
def _teachers(settings: _Settings) -> dict[str, tuple[ClipTeacher | ClapTeacher, Tensor]]:
    """By modality the network, and the embeddings of its prompts."""
    found: dict[str, tuple[ClipTeacher | ClapTeacher, Tensor]] = {}
    for modality, sentences in settings.prompts:
        teacher: ClipTeacher | ClapTeacher
        if modality == "audio":
            teacher = ClapTeacher(settings.clap, settings.device)
        else:
            teacher = ClipTeacher(*settings.clip, settings.device)
        found[modality] = teacher, teacher.embed_text(sentences)
    return found


def _known(
    out: Path, jobs: list[_Job], workers: int, thresholds: Thresholds, progress: bool
) -> tuple[dict[str, Record], int]:
    """The records of the videos that earlier runs finished, and how many of them had to be labelled anew."""
    from tqdm import tqdm

    records, relabelled = label_files.records(out), 0
    known: dict[str, Record] = {}

    def look(job: _Job) -> bool:
        record = records.get(job.id)
        return label_files.finished(out, record, Path(job.source), job.path, job.fingerprint)

    with ThreadPoolExecutor(workers) as threads:  # hashing lets other threads run
        try:
            bar = tqdm(threads.map(look, jobs), "earlier runs", len(jobs), disable=not progress, leave=False)
            for job, done in zip(jobs, bar, strict=True):
                if not done or (records[job.id]["warnings"] and not job.use_damaged):
                    continue
                record = records[job.id]
                if job.similarities and not record["similarities"]:
                    continue
                if (record["weak"], record["thresholds"]) == (list(job.weak), label_files.listed(thresholds)):
                    known[job.id] = record
                elif new := label_files.relabel(out, job.id, record, job.weak, thresholds, job.settings.classes):
                    known[job.id] = new
                    relabelled += 1
        except BaseException:
            threads.shutdown(cancel_futures=True)  # else Ctrl-C would wait for all
            raise
    for id in records.keys() - {job.id for job in jobs}:  # what lies there of videos that are gone stays in step
        record = records[id]
        fits = record.get("thresholds") == label_files.listed(thresholds)
        if not fits and not label_files.relabel(out, id, record, record["weak"], thresholds, jobs[0].settings.classes):
            label_files.forget(out, id)
    return known, relabelled


def _label(job: _Job) -> Record | str:
    """Makes and records the pseudo-labels of one video, in a worker; text if the run as a whole cannot go on."""
    source, out, teachers = Path(job.source), Path(job.out), _teachers(job.settings)
    label_files.forget(out, job.id)
    networks = {_FEATURE[name]: cast(Any, teacher) for name, (teacher, _) in teachers.items()}
    try:
        record: Record = {"path": job.path, "sha256": sha256(source), "bytes": source.stat().st_size}
        found = extract_file(source, Encoders(**networks))
    except MediaError as error:
        raise MediakitError(error.problem) from error
    told = [text.removeprefix(f"{source}: ").removesuffix(" What is intact was used.") for text in found.warnings]
    absent = {name: found.absent[feature] for name, feature in _FEATURE.items() if feature in found.absent}
    told += [reason for reason in absent.values() if reason not in _NOTHING_THERE]
    if told and not job.use_damaged:
        raise MediakitError(f"{told[0]} Use what is intact with --use-damaged (use_damaged=True).")
    values: dict[str, Tensor | None] = dict.fromkeys(teachers)
    for name in teachers.keys() - absent.keys():
        teacher, text = teachers[name]
        media = torch.from_numpy(found.arrays[_FEATURE[name]])
        values[name] = similarity(media, text, teacher.scale, teacher.bias)
    record |= {"fingerprint": job.fingerprint, "seconds": found.seconds, "weak": list(job.weak)}
    record |= {"absent": absent, "warnings": told}
    try:
        return label_files.save(
            out, job.id, record, values, dict(job.thresholds), job.settings.classes, job.similarities
        )
    except MediaError as error:  # where one cannot be written, the others cannot
        return str(error)
