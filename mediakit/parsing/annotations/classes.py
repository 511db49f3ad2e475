"""The class lists of the data sets, in the order of their authors' label columns."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from mediakit.errors import MediakitError
from mediakit.synthetic.sounds import SOUNDS


def _names(text: str, separator: str = ", ") -> tuple[str, ...]:
    return tuple(" ".join(text.split()).split(separator))


CLASS_LISTS: dict[str, tuple[str, ...]] = {
    # Tian et al., ECCV 2020: the columns of every published checkpoint and pseudo-label of LLP.
    "llp": _names(
        """
        Speech, Car, Cheering, Dog, Cat, Frying_(food), Basketball_bounce, Fire_alarm, Chainsaw, Cello, Banjo, Singing,
        Chicken_rooster, Violin_fiddle, Vacuum_cleaner, Baby_laughter, Accordion, Lawn_mower, Motorcycle, Helicopter,
        Acoustic_guitar, Telephone_bell_ringing, Baby_cry_infant_cry, Blender, Clapping
        """
    ),
    # Tian et al., ECCV 2018: the order of Annotations.txt, without the background.
    "ave": _names(
        """
        Church bell; Male speech, man speaking; Bark; Fixed-wing aircraft, airplane; Race car, auto racing; Female
        speech, woman speaking; Helicopter; Violin, fiddle; Flute; Ukulele; Frying (food); Truck; Shofar; Motorcycle;
        Acoustic guitar; Train horn; Clock; Banjo; Goat; Baby cry, infant cry; Bus; Chainsaw; Cat; Horse; Toilet flush;
        Rodents, rats, mice; Accordion; Mandolin
        """,
        separator="; ",
    ),
    # Geng et al., CVPR 2023: the order of label_id in unav100_annotations.json.
    "unav": _names(
        """
        man speaking, woman speaking, kid speaking, male singing, people laughing, car passing by, baby laughter, wind
        noise, people clapping, people shouting, people crowd, female singing, dog barking, playing acoustic guitar,
        people eating, people cheering, basketball bounce, engine knocking, playing tennis, baby babbling, striking
        bowling, playing badminton, cat meowing, people slapping, playing piano, baby crying, people burping, orchestra,
        playing drum kit, playing violin, machine gun shooting, child singing, people nose blowing, playing electronic
        organ, people sneezing, dog howling, skateboarding, playing base guitar, auto racing, sea waves, playing table
        tennis, people coughing, people whispering, playing ukulele, sheep bleating, playing tabla, fire truck siren,
        playing volleyball, beat boxing, playing trumpet, thunder, playing cello, playing harp, hammering nails, people
        running, sailing, telephone bell ringing, frog croaking, driving motorcycle, playing cornet, playing clarinet,
        train wheels squealing, playing flute, playing trombone, playing erhu, bull bellowing, raining, skidding,
        chainsawing trees, police car siren, playing saxophone, fireworks banging, driving buses, tap dancing, airplane
        flyby, people whistling, train horning, vacuum cleaner cleaning floors, playing accordion, bird chirping,
        vehicle honking, church bell ringing, playing snare drum, playing synthesizer, typing on computer keyboard,
        singing choir, lions roaring, people slurping, helicopter, horse clip-clop, water burbling, lawn mowing, playing
        banjo, playing zither, playing harmonica, people battle cry, people sobbing, ambulance siren, rope skipping,
        hair dryer drying
        """
    ),
    # Generated clips: mediakit.synthetic.
    "events": SOUNDS,
}
"""Names of the classes by data set: ``llp`` (25), ``ave`` (28), ``unav`` (UnAV-100), ``events`` (generated clips)."""


def class_names(classes: str | Sequence[str]) -> tuple[str, ...]:
    """The names of the classes, in the order of the label columns.

    Args:
        classes: Key of `CLASS_LISTS`, or the names themselves.

    Raises:
        MediakitError: There is no such key, there are no names, or one comes twice.
    """
    if isinstance(classes, str):
        if classes not in CLASS_LISTS:
            raise MediakitError(
                f"there is no class list {classes!r}: take {', '.join(CLASS_LISTS)}, or list the names themselves."
            )
        return CLASS_LISTS[classes]
    names = tuple(classes)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated or not all(names):
        problem = f"{repeated[0]!r} comes twice" if repeated else "a name is empty" if names else "it is empty"
        raise MediakitError(f"the list of classes cannot be used: {problem}.")
    return names


def nearest_class(name: str, classes: Sequence[str]) -> str | None:
    """The class that a misspelt name may mean; None if it is like none."""
    plain = {"".join(filter(str.isalnum, known.lower())): known for known in classes}
    found = difflib.get_close_matches("".join(filter(str.isalnum, name.lower())), plain, n=1)
    return plain[found[0]] if found else None
