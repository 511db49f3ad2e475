"""What a page says of coloured key frames: before and after, how far the sound was believed, that it is a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mediakit.charts import clock
from mediakit.colorize.result import notice

if TYPE_CHECKING:
    from mediakit.colorize.key_frames import ColoredStill, KeyFrameColors

_TOLD = {
    "silent": "it is silent",
    "missing": "there is none",
    "undecodable": "it cannot be decoded",
    "not used": "it was left out",
    "not given": "none was given",
}
_TONES = {
    "gray": "black and white",
    "toned": "toned (every lightness has one colour, as in sepia), which counts as gray",
}


def colorize_section(result: KeyFrameColors, title: str, still: bool = False) -> dict[str, Any]:
    """The section as plain values for ``report.html``; its pictures are tensors yet.

    Args:
        result: What was coloured.
        title: Heading of the section.
        still: Whether the file is a single picture, in which there are no times.
    """
    step = 0.1 if not result.stills or result.stills[-1].time < 60 else 1.0
    return {
        "title": title,
        "lead": _lead(result, still),
        "notice": notice(tuple(s.guided for s in result.stills)) if result.stills else "",
        "notes": result.notes,
        "stills": [
            {
                "name": "the picture" if still else f"the picture at {clock(s.time, step)}",
                "caption": said_of_sound(s) if still else f"{clock(s.time, step)} · {said_of_sound(s)}",
                "before": s.before,
                "after": s.after,
                "width": s.after.shape[2],
                "height": s.after.shape[1],
            }
            for s in result.stills
        ],
        "method": _method(result) if result.stills else "",
    }


def said_of_sound(still: ColoredStill) -> str:
    """What became of the sound of one picture, in few words."""
    if still.guided.by == "sound":
        return f"sound believed to {still.guided.relevance:.0%}"
    return f"no sound: {_TOLD.get(still.guided.sound, 'unknown')}"


def _lead(result: KeyFrameColors, still: bool) -> str:
    if result.tone is None:
        return "There are no pictures to colour."
    what = "The picture" if still else "The film"
    if result.tone == "colour":
        return f"{what} is in colour already (colourfulness {result.colorfulness:.0f}), so nothing was coloured."
    count = len(result.stills)
    heard = sum(s.guided.by == "sound" for s in result.stills)
    guided = "without any sound to guide it" if count == 1 else "without any sound to guide them"
    if heard == count:
        guided = "guided by its sound" if count == 1 else "each guided by the sound around it"
    elif heard:
        guided = f"{heard} of them guided by the sound around them"
    frames = "it was" if still else "one of its frames was" if count == 1 else f"{count} of its frames were"
    return f"{what} is {_TONES[result.tone]}; {frames} coloured, {guided}."


def _method(result: KeyFrameColors) -> str:
    model = result.model
    name = f"{model['checkpoint']} ({model['network']})" if "checkpoint" in model else model["network"]
    return (
        f"Model: {name}, weights {model['weights_sha256'][:16]}. Lightness is the file's own. "
        "How far a sound is believed the network judges by what the gray picture lets it expect; what is not believed "
        "changes nothing. `mediakit colorize` colours the whole file."
    )
