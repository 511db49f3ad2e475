"""A training step of the parsing network against the class-by-class loop: time, memory, and how near the limit.

    python benchmarks/parsing_training.py [--rounds 3] [--steps 3] [--batch 64] [--threads 2] [--json FILE] [--profile]

Loop and ours take turns, each turn in a process of its own, `--rounds` times. A turn is a warm-up and `--steps` steps
(forward, losses, backward, clipping, AdamW; dropout on), or as many forward passes without gradients. Times are medians
over all steps of all turns, with the least beside them; on a busy machine the least, and the processor time of
`--threads 1`, tell more. Memory is the most that a turn took above imports, model and data. The limit is what matrix
products alone, of the shapes that make up 94 % of the work, would take here for three times the operations of the
forward pass. Runs on a GPU when there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from mmcse_loop import MMCSELoop, Output, loop_losses
from torch import nn

from mediakit.parsing.losses import mmcse_loss
from mediakit.parsing.official import load_official

CLASSES, SEGMENTS, CLIPS_DIM, DIM = 25, 10, 512, 768
PRODUCTS = ((128, 1024), (128, 512), (512, 128))
"""Inner and outer sizes of the products that FGSE is made of; there are 2 B T K rows."""

GOALS = (  # what, loop's case, our case, least times faster, most of its memory
    ("float32", "loop step float32", "ours step float32", 1.6, 0.5),
    ("CLAP maps", "loop step clap", "ours step clap", 2.2, None),
    ("bf16 against the loop in float32", "loop step float32", "ours step bf16", 2.5, None),
    ("bf16 against the loop in bf16", "loop step bf16", "ours step bf16", None, None),
    ("forward only, float32", "loop forward float32", "ours forward float32", None, None),
    ("forward only, bf16", "loop forward bf16", "ours forward bf16", None, None),
)
ON_GPU = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", choices=[goal[0] for goal in GOALS], help="rows of the table to measure")
    parser.add_argument("--json", type=Path, help="file for everything that was measured")
    parser.add_argument("--profile", action="store_true", help="only print where the time of our step goes")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # one turn, in a child
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.case:
        print(json.dumps(turn(args)))
    elif args.profile:
        for precision in ("float32", "bf16"):
            print(f"## {precision}\n{profile(args, precision)}\n")
    else:
        report(args)


def report(args: argparse.Namespace) -> None:
    """Measures everything, prints the tables and writes the JSON."""
    rows = [goal for goal in GOALS if not args.only or goal[0] in args.only]
    cases = list(dict.fromkeys(case for _, loop, ours, *_ in rows for case in (loop, ours)))
    turns: dict[str, list[dict]] = {case: [] for case in ("products", *cases)}
    for _ in range(args.rounds):
        for case, found in turns.items():
            found.append(child(case, args))
    products = turns.pop("products")
    losses = child("losses", args)

    name = torch.cuda.get_device_name() if args.device == "cuda" else f"{args.threads} CPU threads"
    print(
        f"B {args.batch}, T {SEGMENTS}, K {CLASSES}; {name}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{args.rounds} turns of {args.steps} each; GFLOP forward and backward: ", end="")
    print(", ".join(f"{who} {f / 1e9:.0f} + {b / 1e9:.0f}" for who, (f, b) in losses["operations"].items()) + "\n")
    goals = against_goals(rows, turns, args.device)
    limits = against_limit(turns, products, losses["operations"]["loop"][0])
    print("\nlosses under bf16 autocast against float32, dropout off, relative difference in percent:")
    for who in ("loop", "ours"):
        print(f"  {who}: " + ", ".join(f"{part} {100 * apart:.3f}" for part, apart in losses[who].items()))
    if args.json:
        found = {"device": name, "goals": goals, "limits": limits, "losses": losses, "products": products}
        args.json.write_text(json.dumps(found | {"turns": turns}, indent=1))


def against_goals(rows: list[tuple], turns: dict[str, list[dict]], device: str) -> dict[str, dict]:
    """Prints and returns how much faster and smaller ours is."""
    seconds = {case: [s for turn in found for s in turn["seconds"]] for case, found in turns.items()}
    median = {case: statistics.median(found) for case, found in seconds.items()}
    least = {case: min(found) for case, found in seconds.items()}
    processor = {case: min(turn["processor_seconds"] for turn in found) for case, found in turns.items()}
    memory = {case: max(turn["memory"] for turn in found) for case, found in turns.items()}
    print("| | loop, s (least) | ours, s (least) | faster | by the least | by processor time ", end="")
    print("| loop, GiB | ours, GiB | of its memory | goal |\n" + "|---" * 10 + "|")
    goals = {}
    for what, loop, ours, faster, share in rows:
        faster = ON_GPU if faster and device == "cuda" else faster
        ratios = [of[loop] / of[ours] for of in (median, least, processor)]
        of_memory = memory[ours] / memory[loop]
        met = (not faster or ratios[0] >= faster) and (not share or of_memory <= share)
        wanted = f"{faster or ''}{f', {share}' if share else ''}{' met' if met else ' MISSED'}" if faster else ""
        times = (f"{median[case]:.3f} ({least[case]:.3f})" for case in (loop, ours))
        held = (f"{memory[case] / 2**30:.2f}" for case in (loop, ours))
        cells = (what, *times, *(f"{r:.2f}x" for r in ratios), *held, f"{of_memory:.2f}", wanted)
        print(f"| {' | '.join(cells)} |")
        goals[what] = {"faster": ratios[0], "by_the_least": ratios[1], "by_processor_time": ratios[2]}
        goals[what] |= {"of_memory": of_memory, "met": met if faster else None}
    return goals


def against_limit(turns: dict[str, list[dict]], products: list[dict], operations: int) -> dict[str, dict]:
    """Prints and returns how near our step is to what matrix products alone would take."""
    print("\n| | GFLOP/s | limit of a step, s | ours at best, s | the limit is |\n" + "|---" * 5 + "|")
    limits = {}
    for precision in ("float32", "bf16"):
        if f"ours step {precision}" in turns:
            best = {shape: max(p[precision][shape] for p in products) for shape in products[0][precision]}
            limit = 3 * operations / best["all"]
            ours = min(s for turn in turns[f"ours step {precision}"] for s in turn["seconds"])
            rates = ", ".join(f"{shape} {rate / 1e9:.0f}" for shape, rate in best.items())
            print(f"| {precision} | {rates} | {limit:.2f} | {ours:.2f} | {100 * limit / ours:.0f} % of it |")
            limits[precision] = {"rates": best, "limit": limit, "share": limit / ours}
    return limits


def child(case: str, args: argparse.Namespace) -> dict:
    """One turn in a fresh process."""
    command = [sys.executable, __file__, "--case", case]
    for option in ("steps", "batch", "threads", "device"):
        command += [f"--{option}", str(getattr(args, option))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def turn(args: argparse.Namespace) -> dict:
    if args.case == "products":
        return {p: product_rates(args, dtype) for p, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16))}
    if args.case == "losses":
        return losses_and_operations(args)
    who, what, kind = args.case.split()
    run = step(args, who, "bf16" if kind == "bf16" else "float32", clap=kind == "clap", training=what == "step")
    before = memory_peak(args.device)
    run()
    begin = time.process_time()
    seconds = [timed(run, args.device) for _ in range(args.steps)]
    spent = (time.process_time() - begin) / args.steps  # of all threads, waiting for one another included
    peak = memory_peak(args.device) - before
    return {"seconds": seconds, "processor_seconds": spent, "memory": peak, "load": os.getloadavg()[0]}


def networks(device: str) -> dict[str, nn.Module]:
    """The loop, and ours with its weights."""
    torch.manual_seed(0)
    loop = MMCSELoop(DIM, DIM, CLIPS_DIM, classes=CLASSES)
    ours = load_official(loop.state_dict())
    return {"loop": loop.to(device), "ours": ours.to(device)}


def example(args: argparse.Namespace, clap: bool = False) -> tuple[list, list]:
    """Inputs of the network, and labels."""
    draw = torch.Generator().manual_seed(1)
    shapes = ((64 if clap else SEGMENTS, DIM), (SEGMENTS, DIM), (SEGMENTS, CLIPS_DIM))
    inputs = [torch.randn(args.batch, *shape, generator=draw).to(args.device) for shape in shapes]
    heard, seen = (torch.rand(args.batch, SEGMENTS, CLASSES, generator=draw).lt(0.1).float() for _ in range(2))
    labels = [torch.maximum(heard, seen).amax(1), heard, seen]
    return inputs, [label.to(args.device) for label in labels]


def losses_of(who: str, network: nn.Module, inputs: list, labels: list, precision: str) -> dict:
    """The loop's outputs go to float32 before its losses: some of them forbid anything less."""
    with autocast(inputs[0].device.type, precision):
        output = network(*inputs)
        if who == "ours":
            return mmcse_loss(output, *labels)
    return loop_losses(Output(*map(floats, output)), *labels)


def floats(tensors):
    return tensors.float() if isinstance(tensors, torch.Tensor) else tuple(t.float() for t in tensors)


def autocast(device: str, precision: str) -> contextlib.AbstractContextManager:
    return torch.autocast(device, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def step(args: argparse.Namespace, who: str, precision: str, clap: bool = False, training: bool = True):
    """A function that does one training step, or one forward pass."""
    network = networks(args.device).pop(who).train(training)
    inputs, labels = example(args, clap)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-3)

    def train() -> None:
        optimizer.zero_grad()
        losses_of(who, network, inputs, labels, precision)["total"].backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    @torch.no_grad()
    def forward() -> None:
        with autocast(args.device, precision):
            network(*inputs)

    return train if training else forward


def timed(run, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def memory_peak(device: str) -> int:
    """The most bytes that this process has held so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def product_rates(args: argparse.Namespace, dtype: torch.dtype) -> dict[str, float]:
    """FLOP a second of each product of `PRODUCTS`, and of all of them one after the other."""
    rows = 2 * args.batch * SEGMENTS * CLASSES
    rates, operations, seconds = {}, 0, 0.0
    for inner, outer in PRODUCTS:
        x, w = (torch.randn(*shape, device=args.device).to(dtype) for shape in ((rows, inner), (inner, outer)))
        out = torch.empty(rows, outer, device=args.device, dtype=dtype)
        multiply = functools.partial(torch.mm, x, w, out=out)
        took = min(timed(multiply, args.device) for _ in range(9))
        rates[f"{rows}x{inner}x{outer}"] = 2 * rows * inner * outer / took
        operations, seconds = operations + 2 * rows * inner * outer, seconds + took
    return rates | {"all": operations / seconds}


def losses_and_operations(args: argparse.Namespace) -> dict:
    """How far bf16 autocast moves each loss, and the operations of a training step: forward, and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    inputs, labels = example(args)
    torch.set_num_threads(1)  # operations are counted in this thread only
    found: dict = {"operations": {}}
    for who, network in networks(args.device).items():
        network.eval()
        with torch.no_grad():
            exact, rough = (losses_of(who, network, inputs, labels, p) for p in ("float32", "bf16"))
        found[who] = {name: abs(float(rough[name] / exact[name]) - 1) for name in exact}
        network.train()
        with FlopCounterMode(display=False) as forward:
            total = losses_of(who, network, inputs, labels, "float32")["total"]
        with FlopCounterMode(display=False) as backward:
            total.backward()
        found["operations"][who] = [forward.get_total_flops(), backward.get_total_flops()]
    return found


def profile(args: argparse.Namespace, precision: str) -> str:
    run = step(args, "ours", precision)
    run()
    with torch.profiler.profile(profile_memory=True) as found:
        run()
    order = "self_cuda_time_total" if args.device == "cuda" else "self_cpu_time_total"
    return found.key_averages().table(sort_by=order, row_limit=30, max_name_column_width=60)


if __name__ == "__main__":
    main()
