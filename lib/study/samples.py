"""What the classifiers of I-SAM2 are fitted on: mean features of masks on train frames, labelled by the truth."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..clips.clip import Clip, Dataset
from ..isam2 import Encoder, majority, mask_means


@dataclass(frozen=True)
class Samples:
    """What classifiers are fitted on: N masks of several clips."""

    vectors: dict[str, np.ndarray]  # (N, d) float32 for each encoder's name
    labels: np.ndarray  # (N,) int64
    clips: np.ndarray  # (N,) names


def spread(dataset: Dataset, n_clips: int, n_frames: int) -> list[tuple[Clip, list[int]]]:
    """Return clips taken evenly from a split (0 for all), and frames taken evenly from each clip, around the
    middle of equal parts."""
    n = min(n_clips or len(dataset.clips), len(dataset.clips))
    chosen = [dataset.clips[i * len(dataset.clips) // n] for i in range(n)]
    return [
        (clip, sorted({(2 * k + 1) * len(clip) // (2 * n_frames) for k in range(n_frames)}))
        for clip in chosen
    ]


def gather(
    encoders: Sequence[Encoder],
    chosen: Iterable[tuple[Clip, list[int]]],
    masks_of: Callable[[np.ndarray], np.ndarray],
) -> Samples:
    """Collect training vectors for several encoders in one pass over the frames.

    Args: chosen: clips and frames, as of `spread`; masks_of: frame -> (N, H, W) bool, as of
        `lib.sam.propose.proposals`.
    Returns: a vector for each mask of at least one pixel that is not void, labelled with its majority class.
    """
    vectors, labels, clips = {e.name: [] for e in encoders}, [], []
    for clip, frames in chosen:
        for t in frames:
            image = clip.image(t)
            masks = masks_of(image)
            classes = majority(clip.truth(t), masks)
            masks = masks[classes >= 0]
            for encoder in encoders:
                vectors[encoder.name].append(mask_means(encoder.encode([image])[0], masks))
            labels.append(classes[classes >= 0])
            clips += [clip.name] * len(masks)
    return Samples(
        {name: np.concatenate(parts) for name, parts in vectors.items()},
        np.concatenate(labels),
        np.array(clips),
    )
