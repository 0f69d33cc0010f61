"""Profiles: which data, which SAM 2 and which base models a study runs on."""

from dataclasses import dataclass
from pathlib import Path

from .. import paths
from ..config import require


@dataclass(frozen=True)
class Profile:
    """Which data, which SAM 2 and which base models a study runs on."""

    name: str
    title: str  # stands in the title of every report
    dataset: str  # reader: vspw, vipseg or camvid
    # folder in EMBEDDED of its clips and weights; "" for a user's data: given at run time, or the folder of
    # the profile's name in DATA
    root: str
    drawn: bool = False  # its clips are drawn into the cache when first opened
    split: str = "val"
    sam: str = "micro"  # a checkpoint name of `lib.sam.load`
    example: str = ""  # clip that 00_quickstart shows unless told otherwise; "" for the first
    cross: str = ""  # the profile that Table 2 runs on, the second data set; "" for none
    ablation_clips: int = 0  # the ablations of Tables 4 to 7 run on this many first clips; 0 for all
    # the classifiers of Table 3 are fitted on this many clips of the train split; 0 for all
    fit_clips: int = 0
    # (name of `lib.segmentors.build`, method, backbone) of the base models
    models: tuple[tuple[str, str, str], ...] = ()
    # (name of a model, why) of base models whose training was stopped early on purpose: a claim about a trained
    # base model is not judged by them
    stopped_early: tuple[tuple[str, str], ...] = ()
    # base models without weights are trained on the train split, for so many steps; 0: they are not
    training_steps: int = 0
    looked_at: bool = False  # its clips were looked at while the micro SAM 2 was developed
    draws_train: bool = False  # its train split is rendered into the cache when first needed
    of_paper: bool = False  # the numbers of the paper's Tables 1 and 3 to 7 were measured on it

    def __post_init__(self):
        require(
            self.dataset in ("vspw", "vipseg", "camvid"),
            "dataset",
            self.dataset,
            "'vspw', 'vipseg' or 'camvid'",
        )

    @property
    def home(self) -> Path:
        """The folder of its weights, and of its clips unless those are given at run time."""
        return paths.EMBEDDED / self.root if self.root else paths.DATA / self.name

    def why_stopped(self, method: str, backbone: str) -> str:
        """Say why the training of a base model was stopped early on purpose; "" if it was not."""
        names = {(method, backbone): name for name, method, backbone in self.models}
        return dict(self.stopped_early).get(names.get((method, backbone), ""), "")


_PAPER_MODELS = tuple(
    (f"{m.lower()}-{b}", m, f"MiT-{b.upper()}")
    for b in ("b0", "b1", "b2", "b5")
    for m in ("Segformer", "CFFM", "MRCFA", "TV3S")
    if (m, b) != ("TV3S", "b0")
)


_MINI_MODELS = (
    *((f"{m.lower()}-n0", m, "MiT-N0") for m in ("Segformer", "CFFM", "MRCFA", "TV3S")),
    ("segformer-n1", "Segformer", "MiT-N1"),
)

_MINI_STOPPED = (
    ("segformer-n0", "after 250 steps, so that its mIoU is like a real model's; MiT-N1 had 800"),
    *((name, "200 steps on from Segformer MiT-N0") for name in ("cffm-n0", "mrcfa-n0", "tv3s-n0")),
)


_MINI_PANOPTIC = (
    ("dvis-plus-n1", "Micro DVIS++", "MiT-N1"),
    ("dvis-plus-n1-offline", "Micro DVIS++ (offline)", "MiT-N1"),
)


# folders of predictions
_PAPER_PANOPTIC = (
    ("cavis-r50", "CAVIS", "R50"),
    ("dvis-plus-r50", "DVIS++", "R50"),
    ("dvis-swinl", "DVIS", "Swin-L"),
    ("dvis-swinl-offline", "DVIS (offline)", "Swin-L"),
)


PROFILES = {
    p.name: p
    for p in (
        Profile(
            "mini",
            "mini: drawn clips, micro SAM 2",
            "vspw",
            "mini",
            example="val_004",
            cross="mini-vipseg",
            ablation_clips=1,
            fit_clips=60,
            looked_at=True,
            draws_train=True,
            models=_MINI_MODELS,
            stopped_early=_MINI_STOPPED,
        ),
        Profile(
            "camvid",
            "CamVid: real video, micro SAM 2",
            "camvid",
            "",
            models=(("segformer-n1", "Segformer", "MiT-N1"),),
            training_steps=1200,
        ),
        Profile("vspw", "VSPW", "vspw", "", sam="large", cross="vipseg", models=_PAPER_MODELS, of_paper=True),
        Profile("vipseg", "VIPSeg", "vipseg", "", sam="large", cross="vipseg", models=_PAPER_PANOPTIC),
        Profile(
            "mini-vipseg",
            "mini-vipseg: drawn clips of another look, micro SAM 2",
            "vipseg",
            "mini",
            drawn=True,
            cross="mini-vipseg",
            models=_MINI_PANOPTIC,
        ),
    )
}
