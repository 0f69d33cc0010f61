"""The stretches of the micro SAM 2's training, in order."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Phase:
    """One stretch of training."""

    name: str
    size_px: int  # input size
    minutes: float  # wall-clock share; the schedule follows time so that a slower machine still finishes
    lr: float  # peak learning rate
    images: int = 16  # per step, 0: no click step
    clicks: int = 8  # prompts per image
    clips: int = 0  # per step, 0: no tracking step
    objects: int = 5  # per clip
    frames: int = 6  # per clip, the first one prompted
    track_every: int = 1  # steps from one tracking step to the next
    # share of tracked objects taken from those that are gone in the last frame, if any are
    leaving: float = 0.0
    # mask losses see the logits divided by this: steep logits pass the stability test on small masks too
    temperature: float = 1.0
    iou: float = 1.0  # weight of the predicted IoU
    by_region: float = 1 / 3  # share of clicks drawn over regions, which favours small ones, not over pixels
    smallest: float = 0.002  # such regions have at least this share of the picture
    whole: float = 0.4  # a side of a picture is not cut with this probability
    tame: float = 0.75  # share of scenes whose classes look like themselves
    fresh: bool = False  # on the fresh pool
    quantile: float = 0.5  # of the true IoU, which the IoU head learns; above 0.5 it forgives
    # weight of picking, by the predicted IoU, the best mask of a region among those of all clicks on it
    rank: float = 0.0
    attention: float = 0.0  # weight of the attention supervision at the start of the phase; falls to 0


# Cropped pictures show large things. The last phases see whole ones, as the automatic masks do.
_WHOLE = Phase(
    "whole-256",
    256,
    40,
    6e-4,
    images=8,
    clips=1,
    objects=4,
    frames=8,
    track_every=6,
    leaving=0.5,
    temperature=2.5,
    iou=3.0,
    by_region=0.65,
    smallest=0.005,
    whole=0.8,
    tame=0.85,
    quantile=0.65,
)
_RANK = replace(
    _WHOLE, name="rank-256", minutes=45, lr=5e-4, clicks=12, track_every=4, whole=0.9, tame=0.95, rank=1.0
)
PHASES = (
    Phase("clicks-128", 128, 36, 1.2e-3, attention=0.5),
    Phase("both-128", 128, 38, 8e-4, clips=1, objects=6, track_every=2, attention=0.2),
    Phase("both-256", 256, 21, 4e-4, images=6, clips=1, objects=4, track_every=2),
    Phase(
        "leave-128",
        128,
        30,
        8e-4,
        clips=1,
        objects=6,
        frames=8,
        track_every=4,
        leaving=0.5,
        temperature=2.5,
        iou=2.0,
    ),
    Phase(
        "leave-256",
        256,
        55,
        4e-4,
        images=8,
        clicks=6,
        clips=1,
        objects=4,
        frames=8,
        track_every=3,
        leaving=0.5,
        temperature=2.5,
        iou=2.0,
    ),
    Phase(
        "small-256",
        256,
        60,
        6e-4,
        images=8,
        clips=1,
        objects=4,
        frames=8,
        track_every=6,
        leaving=0.5,
        temperature=2.5,
        iou=3.0,
        by_region=0.65,
    ),
    _WHOLE,
    replace(_WHOLE, name="whole-256-again", minutes=22, lr=4e-4),
    replace(_WHOLE, name="whole-256-last", minutes=17, lr=4e-4, track_every=3),
    _RANK,
    replace(_RANK, name="rank-256-again", minutes=55, smallest=0.006),
    # the IoU of known scenes rose alone
    replace(_RANK, name="rank-256-fresh", minutes=50, smallest=0.006, fresh=True),
)
