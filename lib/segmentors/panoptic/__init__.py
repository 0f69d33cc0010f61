"""Video panoptic models, the base models of Table 2: DVIS, DVIS++ and CAVIS, online and offline.

config.py         the members: backbone, tracker, queries
resnet.py         one backbone
swin.py           the other
pixel_decoder.py  deformable attention among three scales
decoder.py        masked attention: what the queries of a frame say
trackers.py       the three trackers
refiner.py        the offline models' look at a whole clip
model.py          all of it
output.py         from queries to tubes, or to classes
stream.py         a clip, one window of frames in memory at a time
predict.py        a data set, in the authors' output format or as label maps
cost.py           what a frame costs
trace.py          every intermediate result, to compare with the authors' code
classes.py        the models' order of VIPSeg's classes
loss.py           the set loss, for training
"""

import re
from dataclasses import replace
from pathlib import Path

from ..weights import fill, read_weights
from .config import CONFIGS, N_CLASSES, Config
from .model import VideoPanoptic
from .output import panoptic, vss
from .trace import trace, trace_tracker

__all__ = [
    "CONFIGS",
    "Config",
    "VideoPanoptic",
    "build",
    "load",
    "names",
    "panoptic",
    "trace",
    "trace_tracker",
    "vss",
]

# In released files, but no weights of the network: what the training loss weighs classes by, CAVIS' constant
# boundary filter, Swin's index table.
UNUSED = re.compile(r"criterion\.|sem_seg_head\.predictor\.laplacian$|.*\.relative_position_index$")
QUERIES = "sem_seg_head.predictor.query_feat.weight"


def names() -> tuple[str, ...]:
    """List the names that `build` knows."""
    return tuple(CONFIGS)


def build(name: str, queries: int | None = None, n_classes: int = N_CLASSES) -> VideoPanoptic:
    """Build a model with fresh weights.

    Args:
        name: such as "dvis-swinl" or "cavis-r50-offline"; `names()` lists them.
        queries: objects it can tell apart in a clip; None for what its configuration says.
        n_classes: without "no object".

    Raises: ValueError for an unknown name, or fewer than one query.
    """
    if name not in CONFIGS:
        raise ValueError(f"Expected `name` to be one of {', '.join(names())}, but got {name!r}.")
    config = CONFIGS[name] if queries is None else replace(CONFIGS[name], queries=queries)
    return VideoPanoptic(config, n_classes)


def load(name: str, path: str | Path) -> VideoPanoptic:
    """Build a model and load its weights: .safetensors, or a released file of detectron2 (.pth), whose number
    of queries it takes.

    All names and shapes must match but for those of `UNUSED`, which are dropped; DVIS' older
    `offline_tracker.` is its `refiner.`.

    Returns: The model on the CPU, float32, in evaluation mode.
    Raises: ValueError for an unknown name. DataMissingError, DataError: see `read_weights` and `fill` of
        `lib.segmentors`.
    """
    if name not in CONFIGS:
        raise ValueError(f"Expected `name` to be one of {', '.join(names())}, but got {name!r}.")
    state = {
        re.sub(r"^offline_tracker\.", "refiner.", key): value
        for key, value in read_weights(path).items()
        if not UNUSED.match(key)
    }
    model = build(name, queries=len(state[QUERIES]) if QUERIES in state else None)
    fill(model, state, path, name)
    return model.eval()
