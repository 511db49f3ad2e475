"""Trains the reference encoders on generated clips and writes `mediakit/encoders/reference_*.safetensors`.

The clips are written as real media files and decoded again, so that the networks see what compression leaves. Only the
training split is trained on; the epoch is chosen on the validation split, whose timbres, styles and backdrops are of
other kinds. The test split is left for `benchmarks/reference_encoders.py`.

    python scripts/train_reference_encoders.py --work FOLDER [--only audio|frames|clips]

About an hour on two cores, most of it training; clips and decoded tensors stay in FOLDER and are used again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mediakit.encoders import AudioEncoder
from mediakit.encoders.reference import REFERENCE_SIZE, create_reference, reference_file
from mediakit.encoders.video import resize_frames, unit_range
from mediakit.io import load_video, read_audio
from mediakit.synthetic.corpus import generate_clips, open_generator

SEED = 77
COUNTS = {("events", "train"): 1000, ("events", "val"): 150, ("scenes", "train"): 240}
EPOCHS = {"audio": 12, "frames": 10, "clips": 7}
BATCH = 64


def decoded(work: Path, kind: str, split: str, workers: int) -> dict[str, Tensor]:
    """Clips as tensors: ``waveform`` (clips, 160000), and a row of ``frames`` (8, 3, 96, 96) and labels each second."""
    cache = work / f"{kind}-{split}.pt"
    if cache.is_file():
        return torch.load(cache, weights_only=True, mmap=True)
    count = COUNTS[kind, split]
    videos = generate_clips(
        kind, work / f"{kind}-{split}", count, seed=SEED, split=split, workers=workers, progress=True
    )
    generator = open_generator(kind, seed=SEED, split=split)
    rows: dict[str, list[Tensor]] = {}
    side = REFERENCE_SIZE["frames"]
    for index in range(count):
        clip = generator.clip(index)
        path = videos / f"{clip.id}.mp4"
        if kind == "events":
            wave = F.pad(read_audio(path, rate=16_000, channels=1).waveform[0], (0, 1600))[:160_000]
            rows.setdefault("waveform", []).append(wave)
            labels = clip.labels()
            rows.setdefault("heard", []).append(labels.audio)
            rows.setdefault("seen", []).append(labels.visual)
        else:
            rows.setdefault("group", []).append(torch.tensor([list(generator.groups).index(clip.group)] * 10))
        frames = unit_range(load_video(path, fps=8).images[:80])
        small = resize_frames(frames, side).mul(255).round().to(torch.uint8)
        rows.setdefault("frames", []).append(small.unflatten(0, (10, 8)))
    result = {name: torch.stack(values) if name == "waveform" else torch.cat(values) for name, values in rows.items()}
    torch.save(result, cache)
    return result


def augment_sound(x: Tensor, draw: torch.Generator) -> Tensor:
    """Changes what does not make the class: loudness, timbre, register; hides a band and a moment. x: (B, 1, T, M)."""
    count, _, length, bands = x.shape
    one = lambda *shape: torch.randn(*shape, generator=draw)  # noqa: E731
    tilt = one(count, 1, 1, 1) * torch.linspace(-1, 1, bands) * 0.5
    curve = F.interpolate(one(count, 1, 8) * 0.35, bands, mode="linear", align_corners=True)[:, :, None]
    x = x + tilt + curve + 0.25 * one(count, 1, 1, 1)
    x = torch.roll(x, int(torch.randint(-10, 11, (1,), generator=draw)), 3)
    x = (
        torch.roll(x, int(torch.randint(0, length, (1,), generator=draw)), 2)
        if torch.rand(1, generator=draw) < 0.3
        else x
    )
    band = int(torch.randint(0, bands - 16, (1,), generator=draw))
    x[:, :, :, band : band + 16] = x.mean()
    return x


def augment_pictures(x: Tensor, draw: torch.Generator) -> Tensor:
    """Mirrors, moves and zooms, and changes colours, contrast and sharpness. x: (B, 3, ..., H, W) normalised."""
    count = len(x)
    dims = (1,) * (x.ndim - 2)
    if torch.rand(1, generator=draw) < 0.5:
        x = x.flip(-1)
    x = x[:, torch.randperm(3, generator=draw)]
    gray = (torch.rand(count, 1, *dims, generator=draw) < 0.25).float()
    x = x + gray * (x.mean(1, keepdim=True) - x)
    x = x * torch.empty(count, 3, *dims).uniform_(0.6, 1.5, generator=draw) + 0.3 * torch.randn(
        count, 3, *dims, generator=draw
    )
    x = torch.where(torch.rand(count, 1, *dims, generator=draw) < 0.25, -x, x)
    dy, dx = torch.randint(-8, 9, (2,), generator=draw).tolist()
    x = torch.roll(x, (dy, dx), (-2, -1))
    return x + 0.1 * torch.randn(x.shape, generator=draw)


def macro_f1(logits: Tensor, labels: Tensor) -> float:
    """Mean over classes of F1 in percent, each at the threshold that suits it best: for choosing an epoch only."""
    best = torch.zeros(labels.shape[1])
    for threshold in torch.linspace(-3, 3, 25):
        hits = logits > threshold
        true = (hits & labels.bool()).sum(0)
        best = torch.maximum(best, 2 * true / (hits.sum(0) + labels.sum(0)).clamp(min=1))
    return 100 * float(best.mean())


def train(
    kind: str,
    inputs: Callable[[dict[str, Tensor], Tensor], Tensor],
    augment: Callable[[Tensor, torch.Generator], Tensor],
    data: dict[str, dict[str, Tensor]],
    target: str,
) -> None:
    """Trains one network with a linear head per task and keeps the best epoch."""
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network, heads = create_reference(kind), nn.ModuleDict()
    if kind != "clips":
        network.to(memory_format=torch.channels_last)  # a third faster on the CPU
    labels = data["train"][target].float()
    heads["events"] = nn.Linear(network.dim, labels.shape[1])
    scenes = data.get("scenes")
    if scenes is not None:
        heads["groups"] = nn.Linear(network.dim, int(scenes["group"].max()) + 1)
    parameters = [*network.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.05)
    steps = len(labels) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=EPOCHS[kind] * steps, pct_start=0.15)
    best, start = -1.0, time.time()
    for epoch in range(EPOCHS[kind]):
        network.train()
        total = 0.0
        order = torch.randperm(len(labels), generator=draw)
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            # In bfloat16 where the processor knows it: half the time. The weights stay in float32.
            with torch.autocast("cpu", torch.bfloat16):
                features = network(augment(inputs(data["train"], rows), draw))
                loss = F.binary_cross_entropy_with_logits(heads["events"](features), labels[rows])
                if scenes is not None:
                    some = torch.randint(0, len(scenes["group"]), (BATCH // 4,), generator=draw)
                    guess = heads["groups"](network(augment(inputs(scenes, some), draw)))
                    loss = loss + 0.1 * F.cross_entropy(guess, scenes["group"][some])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        network.eval()
        with torch.no_grad():
            rows = torch.arange(len(data["val"][target]))
            logits = torch.cat([heads["events"](network(inputs(data["val"], part))) for part in rows.split(128)])
        score = macro_f1(logits, data["val"][target])
        print(
            f"{kind} epoch {epoch + 1}: loss {total / steps:.4f}, val F1 {score:.1f}, {time.time() - start:.0f} s",
            flush=True,
        )
        if score > best:
            best = score
            # Half precision: what is kept in the package is half the size, and no feature changes by more than 1e-3.
            state = {
                name: value.half().contiguous() if value.is_floating_point() else value
                for name, value in network.state_dict().items()
            }
            note = f"trained on generated clips (mediakit.synthetic, seed {SEED}); validation F1 {score:.1f}"
            save_file(state, reference_file(kind), metadata={"training": note})


def main() -> None:
    """Trains the three networks in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", choices=("audio", "frames", "clips"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    events = {split: decoded(options.work, "events", split, options.workers) for split in ("train", "val")}

    if options.only in (None, "audio"):
        encoder = AudioEncoder("reference")
        for data in events.values():
            waves = data.pop("waveform")
            segments = [encoder.images(part).flatten(0, 1).half() for part in waves.split(16)]
            data["segments"] = torch.cat(segments)
        train("audio", lambda data, rows: data["segments"][rows].float(), augment_sound, events, "heard")
    if options.only in (None, "frames"):
        scenes = decoded(options.work, "scenes", "train", options.workers)
        draw = torch.Generator().manual_seed(1)

        def frames(data: dict[str, Tensor], rows: Tensor) -> Tensor:
            moment = torch.randint(0, 8, (len(rows),), generator=draw)
            return (data["frames"][rows, moment].float() / 255 - 0.45) / 0.25

        train("frames", frames, augment_pictures, events | {"scenes": scenes}, "seen")
    if options.only in (None, "clips"):
        side = REFERENCE_SIZE["clips"]

        def clips(data: dict[str, Tensor], rows: Tensor) -> Tensor:
            flat = data["frames"][rows].flatten(0, 1).float() / 255
            small = F.interpolate(flat, (side, side), mode="bilinear", align_corners=False, antialias=True)
            return ((small - 0.45) / 0.25).unflatten(0, (-1, 8)).transpose(1, 2)

        train("clips", clips, augment_pictures, events, "seen")


if __name__ == "__main__":
    main()
