"""The title of a report: which data, how much of it, which SAM 2."""

from ..clips.clip import Dataset
from ..sam.checkpoints import OFFICIAL, is_micro
from .profiles import Profile

# clips in the published splits; Source: the papers of VSPW and VIPSeg
PUBLISHED = {("vspw", "train"): 2806, ("vspw", "val"): 343, ("vspw", "test"): 387}
PUBLISHED |= {("vipseg", split): n for (_, split), n in PUBLISHED.items()}
MICRO = "micro SAM 2"


def title_of(profile: Profile, dataset: Dataset, checkpoint: str, n_clips_of_split: int = 0) -> str:
    """Say what a study ran on: "VSPW", "2 clips of VSPW's 343, micro SAM 2", "CamVid: real video, SAM 2 large".

    Args:
        profile: its title names the data, and the SAM 2 that it takes by itself.
        dataset: the clips that are used.
        checkpoint: the SAM 2 that is used, as `lib.sam.load` takes it.
        n_clips_of_split: clips of the split where no published number is known; 0 for those of `dataset`.
    """
    name = profile.title.removesuffix(f", {MICRO}")
    n, whole = len(dataset.clips), PUBLISHED.get((profile.name, dataset.split), n_clips_of_split)
    if whole and n < whole:
        head, colon, rest = name.partition(":")
        name = f"{n} clip{'s' * (n != 1)} of {head}'s {whole}{colon}{rest}"
    if n == 1:
        name += ", within this sequence"
    if is_micro(checkpoint):
        return f"{name}, {MICRO}"
    if checkpoint == profile.sam:
        return name
    return f"{name}, SAM 2 {checkpoint if checkpoint in OFFICIAL else 'of another file'}"
