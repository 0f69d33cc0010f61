"""From queries to labels: panoptic tubes and, of the same numbers, a class for every pixel.

A clip is never in memory as full-size maps: queries compete frame by frame, and only who won is kept until
the clip's counts are known.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from .classes import N_THINGS

AT_A_TIME = 16  # masks at full size in memory


class Segment(NamedTuple):
    """One tube of a clip."""

    id: int  # from 1
    class_id: int  # the model's, see `classes`
    query: int  # the first that it is made of
    pixels: int  # in all frames


@dataclass(frozen=True)
class Sizes:
    """The three sizes (H, W) that masks go through."""

    padded: tuple[int, int]  # the network's input
    image: tuple[int, int]  # the part of it that is not padding
    output: tuple[int, int]  # the frames'


def probabilities(classes: torch.Tensor, aux: torch.Tensor | None) -> torch.Tensor:
    """Return class probabilities (Q, n + 1); `aux`, the offline models' tracker logits, can only raise those
    of classes.
    """
    p = classes.float().softmax(1)
    if aux is not None:
        p = torch.cat([torch.maximum(p[:, :-1], aux.float().softmax(1)[:, :-1]), p[:, -1:]], 1)
    return p


def full_size(logits: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    """Turn mask logits (K, h, w) into masks (K, H, W) in 0..1 at the frames' size, in the authors' order:
    resize, crop, sigmoid, resize.
    """
    masks = F.interpolate(logits.float()[None], sizes.padded, mode="bilinear")[
        :, :, : sizes.image[0], : sizes.image[1]
    ].sigmoid()
    return masks[0] if sizes.image == sizes.output else F.interpolate(masks, sizes.output, mode="bilinear")[0]


@dataclass
class Contest:
    """Queries that compete for the pixels of a clip, and how they fare.

    Args: p: `probabilities`; threshold: probability that a query's class must exceed.
    """

    p: torch.Tensor
    threshold: float
    kept: torch.Tensor = field(init=False)  # (K,) int64, queries that take part
    labels: torch.Tensor = field(init=False)  # (K,) int64, their classes
    counts: np.ndarray = field(init=False)  # (K, 3) pixels: won; in the mask; both

    def __post_init__(self):
        scores, labels = self.p.max(1)
        self.kept = ((labels != self.p.shape[1] - 1) & (scores > self.threshold)).nonzero()[:, 0]
        self.labels, self.scores = labels[self.kept], scores[self.kept]
        self.counts = np.zeros((len(self.kept), 3), np.int64)

    def frame(self, logits: torch.Tensor, sizes: Sizes) -> np.ndarray:
        """Let queries compete for one frame; counts grow.

        Args: logits: (K, h, w), of the kept queries.
        Returns: (H, W) uint16: 1 + the winner, as counted among the kept, where the pixel is in its mask; 0
            elsewhere.
        """
        best = torch.zeros(sizes.output, device=logits.device)
        winner = torch.zeros(sizes.output, dtype=torch.int64, device=logits.device)
        inside = torch.zeros(sizes.output, dtype=torch.bool, device=logits.device)
        n = len(self.kept)
        for first in range(0, n, AT_A_TIME):
            masks = full_size(logits[first : first + AT_A_TIME], sizes)
            ours = masks >= 0.5
            self.counts[first : first + len(masks), 1] += ours.flatten(1).sum(1).cpu().numpy()
            value, at = (masks * self.scores[first : first + len(masks), None, None]).max(
                0
            )  # the first of equals
            higher = value > best if first else torch.ones_like(inside)
            best, winner = torch.where(higher, value, best), torch.where(higher, at + first, winner)
            inside = torch.where(higher, ours.gather(0, at[None])[0], inside)
        if not n:
            return np.zeros(sizes.output, np.uint16)
        self.counts[:, 0] += torch.bincount(winner.flatten(), minlength=n).cpu().numpy()
        self.counts[:, 2] += torch.bincount(winner[inside], minlength=n).cpu().numpy()
        return torch.where(inside, winner + 1, 0).cpu().numpy().astype(np.uint16)

    def segments(self, overlap: float) -> tuple[np.ndarray, list[Segment]]:
        """Decide, after the last frame, which queries become tubes.

        Args: overlap: share of its mask that a query must have won, in all frames together.
        Returns: the id of each value that `frame` returned, (K + 1,) uint16, and the tubes. Stuff of one
            class is one tube.
        """
        table, found, stuff = np.zeros(len(self.kept) + 1, np.uint16), [], {}
        for k, (label, (won, own, both)) in enumerate(zip(self.labels.tolist(), self.counts.tolist())):
            if not both or won / own < overlap:
                continue
            if label in stuff:
                table[k + 1] = stuff[label]
                tube = found[stuff[label] - 1]
                found[stuff[label] - 1] = tube._replace(pixels=tube.pixels + both)
                continue
            table[k + 1] = len(found) + 1
            found.append(Segment(len(found) + 1, label, int(self.kept[k]), both))
            if label >= N_THINGS:
                stuff[label] = len(found)
        return table, found


def semantic(p: torch.Tensor, logits: torch.Tensor, sizes: Sizes) -> np.ndarray:
    """Give each pixel of a frame the class of most mass: all queries vote with their probabilities, nothing
    is left out ("vss").

    Args: p: (Q, n + 1); logits: (Q, h, w), of all queries.
    Returns: (H, W) uint8, the model's classes.
    """
    masks = full_size(logits, sizes)
    mass = p[:, :-1].T @ masks.flatten(1)
    return mass.max(0).indices.view(sizes.output).to(torch.uint8).cpu().numpy()


def panoptic(
    classes, aux, masks, padded, image, output, thresholds: tuple[float, float] = (0.8, 0.8)
) -> tuple[np.ndarray, list[Segment]]:
    """Make the panoptic output of a clip whose masks are in memory.

    Args:
        classes: (Q, n + 1) logits of the clip.
        aux: the same of the tracker for offline models, else None.
        masks: (Q, T, h, w) logits.
        padded, image, output: (H, W), see `Sizes`.
        thresholds: of the class probability and of the overlap.

    Returns:
        ids (T, H, W) uint16, 0 where nothing is, and the tubes.

    Source: DVIS, DVIS++ and CAVIS, inference for VPS.
    """
    sizes = Sizes(tuple(padded), tuple(image), tuple(output))
    contest = Contest(probabilities(classes, aux), thresholds[0])
    winners = [contest.frame(masks[contest.kept, t], sizes) for t in range(masks.shape[1])]
    table, found = contest.segments(thresholds[1])
    return table[np.stack(winners)], found


def vss(classes, aux, masks, padded, image, output) -> np.ndarray:
    """Make the semantic output of a clip whose masks are in memory: (T, H, W) uint8, the model's classes;
    arguments as for `panoptic`.
    """
    sizes, p = Sizes(tuple(padded), tuple(image), tuple(output)), probabilities(classes, aux)
    return np.stack([semantic(p, masks[:, t], sizes) for t in range(masks.shape[1])])
