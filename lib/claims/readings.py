"""Where the paper leaves room: what it says, what is done here, and why. Each reading is the default of
the code named beside it."""

from dataclasses import astuple, dataclass

import pandas as pd


@dataclass(frozen=True)
class Reading:
    """One choice that the paper leaves open."""

    item: str
    says: str  # the paper, in short
    taken: str
    why: str
    offered: str  # what can be chosen instead, "" for nothing
    code: str  # where it is decided


READINGS = (
    Reading(
        "overlapping masklets",
        'Sec. 3.1.1: they pass "an aggregator", not described',
        "larger masks are painted first, smaller ones over them",
        "small objects survive; other refiners do the same",
        'order by predicted IoU: overlap="score"',
        "lib.config.VoteSettings.overlap",
    ),
    Reading(
        "scope of the vote",
        "Eq. 2: the predominant class within a masklet",
        "each frame votes for itself",
        "the sum of Eq. 2 runs over the pixels (x, y) of one frame",
        'one vote over all frames of a masklet: scope="masklet"',
        "lib.config.VoteSettings.scope",
    ),
    Reading(
        "ties and void votes",
        "nothing",
        "a tie goes to the lowest class id; void pixels cast no vote; a mask without votes changes nothing",
        "deterministic, whatever the order of the masks",
        "",
        "lib.refiner.paint",
    ),
    Reading(
        "mVC",
        "Eq. 4 asks for agreement with the truth, and refers to VSPW for details",
        "VSPW's script, which compares a prediction with itself",
        "the published numbers beside it come from that script",
        "Eq. 4 to the letter, always printed as mVC8_eq4 and mVC16_eq4",
        "lib.metrics.summarise",
    ),
    Reading(
        "boundary",
        "Eq. 5 unites the eroded classes, which are the interiors; the text speaks of extracted boundaries, with a kernel of 5 pixels",
        "the pixels that erosion with a 5 x 5 square takes from their class; neither the frame's edge nor void makes a boundary, and void is none",
        "a score of interiors would not be one of boundaries",
        "another width: boundary_px",
        "lib.metrics.count_clip",
    ),
    Reading(
        "mBIoU",
        "Eq. 6 on sets of pixels, classes not mentioned",
        "a pixel counts with its class, all classes of a frame together; mean over the frames",
        "in Table 2 it exceeds mIoU, which a mean over classes does not give",
        'a mean over the classes of a frame: pool="classes"',
        "lib.metrics.count_clip",
    ),
    Reading(
        "pixels that no masklet covers, without base fill",
        "Sec. 3.1.2: they are left without predicted labels",
        "predicted as nothing: a miss for the true class, a false positive for none",
        "nothing was predicted, so nothing is credited or charged",
        "fill with a base model's labels",
        "lib.isam2.paint_classes",
    ),
    Reading(
        "feature F of I-SAM2",
        "Eq. 3: the encoded feature at a pixel, from SAM 2's image encoder",
        "the encoder's map at stride 16, constant within a cell; masks are averaged to its cells by area",
        "Eq. 3 exactly, without a resized map",
        "",
        "lib.isam2.mask_means",
    ),
    Reading(
        "features of I-CFFM",
        "Sec. 3.1.2: those of the trained models' encoders",
        "the four maps of the backbone, resized to 1/8 and concatenated",
        "the plainest reading",
        'the map that the decoder fuses: maps="decoder"',
        "lib.study.features.of_base",
    ),
    Reading(
        "when a masklet is classified",
        "Sec. 3.1.2: one vector per masklet, of one frame's features",
        "anew in each frame",
        "the large loss of mVC in Table 3 suggests it",
        'once, by its mean over all its frames: scope="masklet"',
        "lib.isam2.classify",
    ),
    Reading(
        "frames, resizing and label shift of the base models",
        "nothing",
        "as the released code of CFFM, MRCFA and TV3S does",
        "their printed numbers were made so",
        "",
        "lib.segmentors.predict",
    ),
)


def readings() -> pd.DataFrame:
    """List the readings, a line each, as text."""
    columns = ["item", "the paper says", "taken here", "why", "also offered", "code"]
    return pd.DataFrame([astuple(reading) for reading in READINGS], columns=columns)
