"""Settings and profiles as frozen dataclasses; the defaults are the paper's (Sec. 3.1)."""

from dataclasses import dataclass, fields


def require(ok: bool, name: str, value, expected: str) -> None:
    """Raise ValueError unless a setting is as expected."""
    if not ok:
        raise ValueError(f"Expected `{name}` to be {expected}, but got {value!r}.")


def _is(kind, value) -> bool:
    """Return `isinstance`, but True and False are no numbers."""
    return isinstance(value, kind) and not isinstance(value, bool)


@dataclass(frozen=True)
class MaskletSettings:
    """How a clip is segmented into masklets. Source: paper Sec. 3.1; `nms` is the default of sam2's automatic
    mask generator."""

    window: int = 32  # frames from one proposal to the next
    grid: int = 16  # points per side of the click grid
    iou: float = 0.6  # a candidate's predicted IoU must exceed this
    stability: float = 0.8  # and its stability reach this
    stability_offset: float = 0.9  # logit offset of the stability score
    nms: float = 0.7  # box IoU above which the candidate of lower predicted IoU goes
    # fill holes and drop specks up to this area, in pixels of the frame; 0 leaves masks as they are
    clean_px: int = 0

    def __post_init__(self):
        for name in ("window", "grid"):
            value = getattr(self, name)
            require(_is(int, value) and value >= 1, name, value, "an integer of 1 or more")
        for name in ("iou", "stability", "nms"):
            value = getattr(self, name)
            require(_is((int, float), value) and 0 <= value <= 1, name, value, "a number between 0 and 1")
        require(
            _is((int, float), self.stability_offset) and self.stability_offset >= 0,
            "stability_offset",
            self.stability_offset,
            "a number of 0 or more",
        )
        require(
            _is(int, self.clean_px) and self.clean_px >= 0,
            "clean_px",
            self.clean_px,
            "an integer of 0 or more",
        )


def batch_size(device: str) -> int:
    """Return how many clicks, or objects, go through SAM 2 together unless told otherwise; results do not
    depend on it."""
    return 32 if device == "cpu" else 64  # a CPU's cache holds no more


@dataclass(frozen=True)
class Shortcuts:
    """Approximations of SAM 2 that save time at the cost of quality; `08_cost` shows both. By default none
    is taken."""

    input_px: int = 0  # SAM 2 sees frames at this size, a multiple of 64; 0 for its own: 1024, micro: 256
    # earlier frames that a track looks back to, beside its first; 0 for all it can: 6, micro: 3
    memories: int = 0
    every: int = 1  # SAM 2 sees every n-th frame; the frames between keep its masks

    def __post_init__(self):
        require(
            _is(int, self.input_px) and self.input_px >= 0 and self.input_px % 64 == 0,
            "input_px",
            self.input_px,
            "a multiple of 64, or 0",
        )
        require(
            _is(int, self.memories) and self.memories >= 0,
            "memories",
            self.memories,
            "an integer of 0 or more",
        )
        require(_is(int, self.every) and self.every >= 1, "every", self.every, "an integer of 1 or more")

    @property
    def taken(self) -> dict[str, int]:
        """Those that are taken."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}


@dataclass(frozen=True)
class VoteSettings:
    """How masklets and predictions become refined predictions: the readings of Eq. 1-2 where the paper is
    silent."""

    overlap: str = "area"  # "area": larger first, smaller painted over; "score": lower predicted IoU first
    # "frame": a masklet votes anew in each frame (Eq. 2); "masklet": one vote over all its frames
    scope: str = "frame"

    def __post_init__(self):
        require(self.overlap in ("area", "score"), "overlap", self.overlap, "'area' or 'score'")
        require(self.scope in ("frame", "masklet"), "scope", self.scope, "'frame' or 'masklet'")


@dataclass(frozen=True)
class ClassifierConfig:
    """How a classifier is made; the paper says no more than "a Multi-Layer Perceptron"."""

    hidden: int = 256  # units of the hidden layer
    dropout: float = 0.1  # of hidden units, in training only
    lr: float = 1e-3  # of AdamW, constant
    weight_decay: float = 0.01
    batch: int = 128  # vectors a step
    epochs: int = 100  # at most
    patience: int = 10  # epochs without a lower loss on the held-out clips after which training ends
    class_balance: str = "none"  # weights of the loss: "none", or "inverse-sqrt" of how often a class occurs
    val_frac: float = 0.2  # share of the clips that is held out
    seed: int = 0

    def __post_init__(self):
        for name in ("hidden", "lr", "batch", "epochs", "patience"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Expected `{name}` to be above 0, but got {getattr(self, name)}.")
        for name in ("dropout", "val_frac"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"Expected `{name}` to be in 0..1, 1 excluded, but got {getattr(self, name)}."
                )
        if self.class_balance not in ("none", "inverse-sqrt"):
            raise ValueError(
                f"Expected `class_balance` to be 'none' or 'inverse-sqrt', but got {self.class_balance!r}."
            )


def from_dict(cls, values: dict):
    """Build a settings dataclass and refuse unknown keys, which would otherwise be a silent default."""
    known = {f.name for f in fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"Unknown {cls.__name__} field(s) {unknown}; known are {sorted(known)}.")
    return cls(**values)


VOID = 255  # "no class" in truths, "nothing predicted" in predictions
NO_CLASS = -1  # of a masklet that has none
