"""The members of the family: which backbone, tracker and queries belong to a name."""

from dataclasses import dataclass, replace

N_CLASSES = 124  # of VIPSeg; column 124 of a class head means "no object"
TRACKERS = ("dvis", "dvis-plus", "cavis")


@dataclass(frozen=True)
class Config:
    """Sizes of one model; the defaults are those of the authors' VIPSeg configurations."""

    tracker: str = "dvis"  # "dvis", "dvis-plus" (DVIS++) or "cavis"
    backbone: str = "r50"  # "r50", "swinl" or "n1", the micro MiT of the drawn clips
    offline: bool = False  # a temporal refiner follows the tracker
    queries: int = 100
    dim: int = 256  # channels of queries, maps and masks
    heads: int = 8
    encoder_layers: int = 6  # deformable attention in the pixel decoder
    encoder_hidden: int = 1024
    decoder_layers: int = 9  # masked attention
    hidden: int = 2048  # of the feed-forward parts of decoder, tracker and refiner
    video_layers: int = 6  # of tracker and refiner
    box: int = 9  # side of the mean filter under an object's boundary, in cells; CAVIS alone
    short_px: int = 720  # a frame's shorter side is resized to this
    long_px: int = 1333  # unless the longer one would exceed this
    object_threshold: float = 0.8  # class probability that a query must exceed
    overlap_threshold: float = 0.8  # share of its mask that a query must win

    def __post_init__(self):
        for name, value, known in (
            ("tracker", self.tracker, TRACKERS),
            ("backbone", self.backbone, ("r50", "swinl", "n1")),
        ):
            if value not in known:
                raise ValueError(f"Expected `{name}` to be one of {', '.join(known)}, but got {value!r}.")
        if self.queries < 1:
            raise ValueError(f"Expected `queries` to be 1 or more, but got {self.queries}.")

    @property
    def embedding(self) -> int:
        """Channels of a query's embedding that frames are matched by: DVIS++ and CAVIS append a
        re-identification vector.
        """
        return self.dim if self.tracker == "dvis" else 2 * self.dim

    @property
    def track(self) -> int:
        """Channels that the tracker and the refiner work in."""
        return 2 * self.dim if self.tracker == "dvis-plus" else self.dim


_MICRO = Config(
    "dvis-plus",
    "n1",
    queries=24,
    dim=64,
    heads=4,
    encoder_layers=2,
    encoder_hidden=128,
    decoder_layers=3,
    hidden=128,
    video_layers=2,
    short_px=240,
    long_px=427,
    object_threshold=0.5,
    overlap_threshold=0.3,
)
_ONLINE = {
    "dvis-swinl": Config("dvis", "swinl", queries=200),
    "dvis-r50": Config("dvis", "r50"),
    "dvis-plus-r50": Config("dvis-plus", "r50"),
    "cavis-r50": Config("cavis", "r50"),
    "dvis-plus-n1": _MICRO,
}
CONFIGS = _ONLINE | {f"{name}-offline": replace(config, offline=True) for name, config in _ONLINE.items()}
