"""The second domain of the mini study: scenes of another look, motion and palette, in VIPSeg's own on-disk
form at 720 lines.

Too large for the repository, so they are drawn into the cache when first opened.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from ..config import VOID
from ..files import write_json
from . import tubes
from .scenes import CLASS_ID, SEEDS, Look, make_scene, render
from .tubes import THINGS, Tubes

LOOK = Look(
    pan_px=(4.0, 8.0),
    speed_px=(2.5, 6.5),
    noise_grey=(6.0, 10.0),
    n_things=(11, 17),
    gain=(1.12, 0.98, 0.82),
    hue_deg=14.0,
    saturation=0.65,
)
LINES_PX = 720
N_CLIPS, N_FRAMES = 4, 18  # more than 16 frames, or the VSPW protocol leaves a clip out
JPEG_QUALITY = 90


def draw(root: Path, n_clips: int = N_CLIPS, n_frames: int = N_FRAMES) -> Path:
    """Return the folder `root` with the clips; render them if it is not there.

    Whoever changes what is rendered raises its version in `lib.study.cache`, which is part of the folder's
    name.
    """
    if not root.is_dir():
        with tubes.whole(root) as part:
            write_vipseg(part, n_clips, n_frames)
    return root


def write_vipseg(root: Path, n_clips: int, n_frames: int, look: Look = LOOK) -> None:
    """Draw clips: `images/<video>/<frame>.jpg`, `panomasksRGB/<video>/<frame>.png` and
    `panoptic_gt_VIPSeg_val.json`.

    Source: the form that change2_720p.py and create_panoptic_video_labels.py of VIPSeg-Dataset leave.
    """
    jobs = [(root, f"vipseg_{i:03d}", SEEDS["vipseg"] + i, n_frames, look) for i in range(n_clips)]
    # OpenCV's threads do not survive a fork
    with ProcessPoolExecutor(
        min(n_clips, os.cpu_count()), mp_context=multiprocessing.get_context("spawn")
    ) as executor:
        videos, annotations = zip(*executor.map(_write_clip, jobs))
    described = tubes.categories(sorted(CLASS_ID.values()))
    write_json(
        root / "panoptic_gt_VIPSeg_val.json",
        {"videos": videos, "annotations": annotations, "categories": described},
    )


def enlarge(array: np.ndarray, nearest: bool) -> np.ndarray:
    """Resize to 720 lines as change2_720p.py does: width int(720 w / h), pictures bilinear, labels
    nearest."""
    height, width = array.shape[:2]
    method = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(array).resize((int(LINES_PX * width / height), LINES_PX), method))


def _write_clip(job: tuple[Path, str, int, int, Look]) -> tuple[dict, dict]:
    """Draw one clip; return its entries of `videos` and `annotations`."""
    root, name, seed, n_frames, look = job
    scene = make_scene(seed, look, n_frames)
    segments, stuff = Tubes(), {}
    number_of = np.array(
        [
            segments.new(CLASS_ID[kind])
            if kind in THINGS
            else stuff.get(kind) or stuff.setdefault(kind, segments.new(CLASS_ID[kind]))
            for kind in scene.classes
        ]
    )
    (root / "images" / name).mkdir(parents=True)
    images, frames = [], []
    for t in range(n_frames):
        image, labels, regions = render(scene, t)
        stem = f"{t:08d}"
        picture = Image.fromarray(enlarge(image, nearest=False))
        picture.save(root / "images" / name / f"{stem}.jpg", quality=JPEG_QUALITY)
        numbers = enlarge(np.where(labels == VOID, 0, number_of[regions]).astype(np.uint8), nearest=True)
        written = segments.write(root / "panomasksRGB" / name / f"{stem}.png", numbers)
        images.append(
            {"id": stem, "width": picture.width, "height": picture.height, "file_name": f"{stem}.png"}
        )
        described = [
            {key: segment[key] for key in ("id", "category_id", "iscrowd", "area")} for segment in written
        ]
        frames.append({"image_id": stem, "file_name": f"{stem}.png", "segments_info": described})
    return {"video_id": name, "images": images}, {"video_id": name, "annotations": frames}
