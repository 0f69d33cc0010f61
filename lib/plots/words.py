"""What refinement did to one frame, in a sentence made from the labels."""

from collections.abc import Sequence

import numpy as np

from lib.plots.style import VOID, VSPW_CLASSES, class_name

LEAST = 0.0005  # of the frame: what is less goes without saying
MOSTLY = 0.5  # of the pixels of a kind, from which one pair of classes speaks for them
WHOLE, MUCH = 0.9, 0.5  # of a class's pixels in the frame


def in_words(
    base: np.ndarray, refined: np.ndarray, truth: np.ndarray, classes: Sequence[str] = VSPW_CLASSES
) -> str:
    """Say what refinement put right, what it spoiled and what stays wrong in a frame, and between which
    classes most of that lies.

    Args: base, refined, truth: (H, W) uint8, class ids or VOID; where the truth is VOID nothing is judged.
    Returns: "Mended 4.1 % of the frame, mostly building that was sky. Spoiled 3.0 %, ..."; of what is less
        than 0.05 % of the frame nothing is said.
    """
    judged = truth != VOID
    was, now = (labels == truth for labels in (base, refined))
    kinds = (
        ("Mended", judged & ~was & now, base, "{} that was {}"),
        ("Spoiled", judged & was & ~now, refined, "{} that became {}"),
        ("Wrong before and after:", judged & ~was & ~now, refined, "{} taken for {}"),
    )
    said = []
    for kind, pixels, other, words in kinds:
        share = np.count_nonzero(pixels) / max(1, np.count_nonzero(judged))
        if share >= LEAST:
            pair = _pair(truth, other, pixels, classes, words, whole=kind == "Spoiled")
            said.append(f"{kind} {_percent(share)}{' of the frame' * (not said)}, {pair}.")
    return " ".join(said) or "Nothing changed, and nothing was wrong."


def _pair(truth, other, pixels, classes: Sequence[str], words: str, whole: bool) -> str:
    """Name the two classes that most of the pixels lie between, and how much of the true one that is."""
    pairs = np.bincount(truth[pixels].astype(np.int64) * 256 + other[pixels], minlength=256 * 256)
    own, taken = divmod(int(pairs.argmax()), 256)
    names = tuple("void" if i == VOID else class_name(classes[i]) for i in (own, taken))
    mostly = "mostly" if pairs.max() > MOSTLY * pairs.sum() else "most often"
    of_class = np.count_nonzero((truth == own) & (other == taken)) / np.count_nonzero(truth == own)
    if whole and of_class >= WHOLE:
        return f"{mostly} because the whole {names[0]} became {names[1]}"
    much = f" ({of_class:.0%} of the {names[0]})" if of_class >= MUCH else ""
    return f"{mostly} {words.format(*names)}{much}"


def _percent(share: float) -> str:
    """Write a share of the frame, with a decimal below ten percent."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"
