"""From a clip to tubes, one window of frames in memory at a time.

Two passes: the first runs the network and tracks; what a clip's end decides (classes, which queries count,
for offline models the masks too) needs the mask features of every frame again, so these are kept, in memory
if they fit, else on disk. With a folder of its own a clip that was interrupted goes on after the last frame
done.
"""

import hashlib
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ...clips.clip import Clip
from ...clips.digests import frames_digest
from ...config import VOID
from ...files import read_arrays, write_arrays, write_json
from ...progress import progress
from ..predict import normalise
from .classes import CLASS_IDS
from .layers import masks_of
from .model import VideoPanoptic
from .output import Contest, Sizes, probabilities, semantic

MOST_BYTES = 2_000_000_000  # of mask features in memory; a clip with more goes to disk
KINDS = ("panoptic", "vss")


def network_size(height: int, width: int, short_px: int, long_px: int) -> tuple[int, int]:
    """Return the size a frame is resized to: its shorter side as said, unless the longer one would exceed its
    limit. Source: detectron2, which scales twice: sides of half a pixel are rounded as there.
    """
    scale = short_px / min(height, width)
    sides = (short_px, scale * width) if height < width else (scale * height, short_px)
    if max(sides) > long_px:
        scale = long_px / max(sides)
        sides = sides[0] * scale, sides[1] * scale
    return int(sides[0] + 0.5), int(sides[1] + 0.5)


def prepare(image: np.ndarray, config, device=None) -> tuple[torch.Tensor, Sizes]:
    """Turn a frame (H, W, 3) uint8 into the network's input (3, H', W'), sides multiples of 32, zeros right
    and below.

    Source: test pipeline of DVIS: Pillow's bilinear on uint8, which averages when it shrinks.
    """
    height, width = network_size(*image.shape[:2], config.short_px, config.long_px)
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    padded = F.pad(normalise(resized[None].copy(), device), (0, -width % 32, 0, -height % 32))[0]
    return padded, Sizes(tuple(padded.shape[1:]), (height, width), image.shape[:2])


class Store:
    """What is known of each frame so far, as arrays by name: in memory, or one file a frame in a folder."""

    def __init__(self, folder: Path | None):
        self.folder, self.frames = folder, []

    def __len__(self) -> int:
        """Frames done, counted from the first."""
        if self.folder is None:
            return len(self.frames)
        n = 0
        while self._file(n).exists():
            n += 1
        return n

    def _file(self, t: int) -> Path:
        return self.folder / f"{t:06d}.npz"

    def put(self, t: int, arrays: dict[str, torch.Tensor]) -> None:
        """Keep frame t."""
        values = {key: value.float().cpu().numpy() for key, value in arrays.items()}
        if self.folder is None:
            self.frames.append(values)
        else:
            write_arrays(self._file(t), **values)

    def get(self, t: int, name: str, device=None) -> torch.Tensor:
        """Look up one array of frame t."""
        if self.folder is None:
            return torch.from_numpy(self.frames[t][name]).to(device)
        with np.load(self._file(t), allow_pickle=False) as saved:
            return torch.from_numpy(saved[name]).to(device)

    def stack(self, n: int, name: str, device=None) -> torch.Tensor:
        """Stack an array of the first n frames."""
        return torch.stack([self.get(t, name, device) for t in range(n)])

    def state(self, device=None) -> dict[str, torch.Tensor]:
        """Return the tracker's state after the last frame done."""
        if not (n := len(self)):
            return {}
        kept = self.frames[n - 1] if self.folder is None else read_arrays(self._file(n - 1))
        return {
            key.removeprefix("state."): torch.from_numpy(value).to(device)
            for key, value in kept.items()
            if key.startswith("state.")
        }


def fingerprint(model: VideoPanoptic) -> str:
    """Name a model by its settings and weights, so that frames of another one are not taken for its own."""
    found = hashlib.sha256(repr((model.config, model.n_classes)).encode())
    for value in model.state_dict().values():
        found.update(value.detach().cpu().contiguous().numpy().data)
    return found.hexdigest()[:16]


def resumable(folder: Path, model: VideoPanoptic, clip: Clip, bf16: bool) -> Store:
    """Open a clip's folder; what another model, other frames or another setting have left there goes."""
    about = {"model": fingerprint(model), "frames": frames_digest(clip), "bf16": bf16}
    note = folder / "about.json"
    if not note.exists() or json.loads(note.read_text(encoding="utf-8")) != about:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(note, about)
    return Store(folder)


@torch.inference_mode()
def observe(model: VideoPanoptic, clip: Clip, store: Store, window: int, bf16: bool) -> None:
    """Run segmenter and tracker on the frames that `store` lacks."""
    device = next(model.parameters()).device
    state, first = store.state(device), len(store)
    wanted = ("embedding", "memory", "logits") if model.refiner else ("kernels", "logits")
    with progress(desc=clip.name, total=len(clip), initial=first) as bar:
        for begin in range(first, len(clip), window):
            frames = range(begin, min(begin + window, len(clip)))
            images = torch.stack([prepare(clip.image(t), model.config, device)[0] for t in frames])
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                segmented = model.segment(images)
                for n, t in enumerate(frames):
                    told, state = model.tracker(
                        segmented.queries.embedding[n], segmented.queries.raw[n], state
                    )
                    state = {key: value.float() for key, value in state.items()}
                    arrays = {key: getattr(told, key) for key in wanted} | {
                        f"state.{key}": value for key, value in state.items()
                    }
                    store.put(t, arrays | {"features": segmented.features[n]})
                    bar.update()
            del segmented, told, images


@torch.inference_mode()
def finish(
    model: VideoPanoptic, clip: Clip, store: Store, kind: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield a clip's frames from what `observe` has kept; as `segment`."""
    device, n = next(model.parameters()).device, len(clip)
    aux, sizes = store.stack(n, "logits", device).mean(0), prepare(clip.image(0), model.config)[1]
    if model.refiner:
        logits, kernels, _ = model.refiner(
            store.stack(n, "embedding", device), store.stack(n, "memory", device)
        )
    else:
        logits, kernels, aux = aux, store.stack(n, "kernels", device), None
    p = probabilities(logits, aux)

    def masks(t, queries):
        features = store.get(t, "features", device)[None]
        return masks_of(
            kernels[t, queries][None], features if model.refiner else model.tracker.mask_features(features)
        )[0]

    if kind == "vss":
        for t in range(n):
            yield CLASS_IDS[semantic(p, masks(t, slice(None)), sizes)], CLASS_IDS
        return
    contest = Contest(p, model.config.object_threshold)
    winners = [zlib.compress(contest.frame(masks(t, contest.kept), sizes), 1) for t in range(n)]
    table, tubes = contest.segments(model.config.overlap_threshold)
    classes = np.array([VOID, *(CLASS_IDS[tube.class_id] for tube in tubes)], np.uint8)
    for packed in winners:
        yield table[np.frombuffer(zlib.decompress(packed), np.uint16).reshape(sizes.output)], classes


def segment(
    model: VideoPanoptic,
    clip: Clip,
    *,
    kind: str = "panoptic",
    window: int = 3,
    bf16: bool = False,
    work: str | Path | None = None,
    most_bytes: int = MOST_BYTES,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Segment a clip with an online or an offline model.

    Args:
        model: of `build` or `load`, in evaluation mode; it runs where its weights are.
        clip: frames of one size; truth is not needed.
        kind: "panoptic": tubes, and holes where no query is sure; "vss": the class of most mass at every
            pixel, the authors' semantic output.
        window: frames that go through the network at a time, 1 or more; changes memory, not results.
        bf16: run the network, but for the pixel decoder, under bfloat16 autocast.
        work: folder for what is known of each frame. A run that was interrupted goes on from it; it is
            removed at the end. None keeps it in memory, or in a temporary folder if the mask features exceed
            `most_bytes`.

    Yields:
        For each frame, in order: numbers (H, W) and the class ids (N,) uint8 that they stand for, as VSPW and
        VIPSeg count them. For "panoptic" the numbers are of tubes, uint16, and number 0 has class VOID; for
        "vss" they are class ids themselves, uint8, and the second is the table of all classes.

    Raises: ValueError for a window below 1, an unknown kind, a model in training mode. DataError,
        DataMissingError for unreadable frames.
    """
    if window < 1 or kind not in KINDS:
        raise ValueError(
            f"Expected `window` to be 1 or more and `kind` one of {', '.join(KINDS)}, "
            f"but got {window} and {kind!r}."
        )
    if model.training:
        raise ValueError(
            "Expected `model` to be in evaluation mode, but it is in training mode. Call model.eval()."
        )
    padded = prepare(clip.image(0), model.config)[1].padded
    n_bytes = 4 * len(clip) * model.config.dim * (padded[0] // 4) * (padded[1] // 4)
    with tempfile.TemporaryDirectory(prefix="panoptic_") as temporary:
        if work is not None:
            store = resumable(Path(work), model, clip, bf16)
        else:
            store = Store(Path(temporary) if n_bytes > most_bytes else None)
        observe(model, clip, store, window, bf16)
        yield from finish(model, clip, store, kind)
    if work is not None:
        shutil.rmtree(work)
