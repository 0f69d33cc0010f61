"""What refinement did to one frame, in a sentence made from the labels."""

from collections.abc import Sequence

import numpy as np

from .style import VOID, VSPW_CLASSES, class_name

LEAST = 0.0005  # of the frame: what is less goes without saying
MOSTLY = 0.5  # of the pixels of a kind, from which one pair of classes speaks for them
WHOLE = 0.9  # of a class's pixels in the frame


def in_words(
    base: np.ndarray, refined: np.ndarray, truth: np.ndarray, classes: Sequence[str] = VSPW_CLASSES
) -> str:
    """Say what refinement put right, what it spoiled and what it left wrong in a frame, and which two
    classes most of that lies between.

    Args: base, refined, truth: (H, W) uint8, class ids or VOID; where the truth is VOID nothing is judged.
    Returns: "Mended 4.1 % of the frame (mostly building, was sky), spoiled 3.0 % (the whole sky is now
        building)."; of what is less than 0.05 % of the frame nothing is said.
    """
    judged = truth != VOID
    was, now = (labels == truth for labels in (base, refined))
    kinds = (
        ("mended {}", judged & ~was & now, base, "{}, was {}"),
        ("spoiled {}", judged & was & ~now, refined, "{}, now {}"),
        ("left {} wrong", judged & ~was & ~now, refined, "{}, taken for {}"),
    )
    said = []
    for kind, pixels, other, words in kinds:
        share = np.count_nonzero(pixels) / max(1, np.count_nonzero(judged))
        if share >= LEAST:
            much = _percent(share) + " of the frame" * (not said)
            said.append(f"{kind.format(much)} ({_pair(truth, other, pixels, classes, words)})")
    text = ", ".join(said) or "changed nothing, as nothing was wrong"
    return f"{text[0].upper()}{text[1:]}."


def _pair(
    truth: np.ndarray, other: np.ndarray, pixels: np.ndarray, classes: Sequence[str], words: str
) -> str:
    """Name the two classes that most of the pixels lie between, and whether that is the whole of the true
    one."""
    pairs = np.bincount(truth[pixels].astype(np.int64) * 256 + other[pixels], minlength=256 * 256)
    own, taken = divmod(int(pairs.argmax()), 256)
    names = ["void" if i == VOID else class_name(classes[i]) for i in (own, taken)]
    if pairs.max() <= MOSTLY * pairs.sum():
        return f"often {words.format(*names)}"
    of_class = np.count_nonzero((truth == own) & (other == taken)) / np.count_nonzero(truth == own)
    if of_class >= WHOLE and "now" in words:
        return f"the whole {names[0]} is now {names[1]}"
    return f"{'the whole' if of_class >= WHOLE else 'mostly'} {words.format(*names)}"


def _percent(share: float) -> str:
    """Write a share of the frame, with a decimal below ten percent."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"
