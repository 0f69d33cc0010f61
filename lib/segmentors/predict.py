"""The one predict loop: frames in, label maps out, by the test protocol of the VSPW papers."""

import logging
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ..clips.images import write_labels
from ..progress import progress
from ..workers import side_by_side

logger = logging.getLogger(__name__)

BACK = (9, 6, 3)  # frames before its target that a video model looks at
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet, RGB, in grey levels


def to_network_size(image, scale):
    """Resize a frame to what a network sees.

    Args:
        image: (H, W, 3) uint8.
        scale: (long, short) side in pixels that the frame is to fit into, its ratio kept; None leaves it at
            its own size.

    Returns:
        (H', W', 3) uint8, H' and W' multiples of 32 (rounded up, ratio not kept); e.g. 480x853 -> 480x864.

    Source: test pipeline of CFFM, MRCFA and TV3S: two resizes, OpenCV's bilinear on uint8, no antialias, no
        padding.
    """
    if scale is not None:
        height, width = image.shape[:2]
        ratio = min(max(scale) / max(height, width), min(scale) / min(height, width))
        image = cv2.resize(
            image, (int(width * ratio + 0.5), int(height * ratio + 0.5)), interpolation=cv2.INTER_LINEAR
        )
    height, width = image.shape[:2]
    return cv2.resize(image, (-(-width // 32) * 32, -(-height // 32) * 32), interpolation=cv2.INTER_LINEAR)


def normalise(images, device=None):
    """(N, H, W, 3) uint8 RGB array -> (N, 3, H, W) float32 tensor, channels-last in memory."""
    images = torch.from_numpy(images).to(device).float()
    return ((images - images.new_tensor(MEAN)) / images.new_tensor(STD)).permute(0, 3, 1, 2)


def contenders(logits):
    """Find the classes that can be the largest anywhere after bilinear resizing; the others need not be
    resized.

    A resized pixel is a convex combination of logits within some 3x3 neighbourhood (2x2 by the first resize,
    of adjacent ones by the second). A class that is nowhere in it above another's smallest logit cannot win
    there.

    Args:
        logits: (1, n_classes, h, w), to be resized twice, the first time to a larger size.

    Returns:
        (K,) int64, ascending, at least one class.
    """
    winners = logits.max(1).indices.unique()  # only these can set a floor worth having
    # (1, 1, h, w): reached all over the neighbourhood of a place
    floor = -F.max_pool2d(-logits[:, winners], 3, 1, 1).amin(1, keepdim=True)
    floor = -F.max_pool2d(-floor, 3, 1, 1)  # the lowest floor of all neighbourhoods that a place is in
    return (logits - floor).amax((0, 2, 3)).ge(0).nonzero()[:, 0]


def to_labels(logits, network_size, size):
    """Turn logits into label maps.

    Args:
        logits: (N, n_classes, h, w) at a quarter of the network's input size.
        network_size: (H', W') of that input.
        size: (H, W) of the frames.

    Returns:
        (N, H, W) uint8, class ids; the lowest id wins a tie.

    Source: mmsegmentation's whole-image inference: bilinear to the network's size, then to the frame's, then
        argmax.
    """
    labels = []
    for frame in logits.float().split(1):  # all classes at full size are large: one frame at a time
        kept = contenders(frame)
        # reductions over classes are faster so
        frame = frame[:, kept].contiguous(memory_format=torch.channels_last)
        frame = F.interpolate(frame, network_size, mode="bilinear")
        if tuple(network_size) != tuple(size):
            frame = F.interpolate(frame, size, mode="bilinear")
        labels.append(kept[frame.max(1).indices])  # several times as fast as argmax on a CPU
    return torch.cat(labels).to(torch.uint8)


def references(t, n_frames):
    """Choose the frames that a model looks at to segment frame `t` of a clip.

    Args:
        t: 0 or more.
        n_frames: `FRAMES` for the video models, 1 for a per-frame model.

    Returns:
        Ascending frame numbers, `t` last; `t` alone in the first three frames of a clip, where the video
        models segment it by itself.

    Source: test pipeline of CFFM, MRCFA and TV3S (mode 0), dilation (-9, -6, -3), with its table for the
        start of a clip.
    """
    if n_frames == 1 or t < 3:
        return (t,)
    start = {3: (0, 1, 2), 4: (0, 2, 3), 5: (0, 2, 4), 6: (0, 2, 4), 7: (0, 3, 5), 8: (0, 3, 6)}
    return (*start.get(t, tuple(t - n for n in BACK)), t)


@torch.inference_mode()
def segment(model, read, targets, *, batch=4, scale="model", bf16=False, stream=False):
    """Segment frames of one clip.

    A frame is read once and goes once through the backbone and what else of the model depends on it alone,
    though up to four targets look at it.

    Args:
        model: of `lib.segmentors.build`, in evaluation mode; it runs where its weights are.
        read: frame number -> (H, W, 3) uint8 RGB, all of one size; called in ascending order.
        targets: frame numbers. Frames that they look at are read too.
        batch: frames at a time, 1 or more; changes memory, not results.
        scale: see `to_network_size`; "model" takes `model.scale`, which is (853, 480) for the published
            widths, as the VSPW papers test, and None, the frame's own size, for the micro widths.
        bf16: run the network under bfloat16 autocast.
        stream: for TV3S, read the clip from its first frame on and carry the states (the authors' mode 2)
            instead of starting from fresh ones for each target (mode 0).

    Yields:
        (t, labels) for each target, ascending; labels (H, W) uint8, class ids.

    Raises:
        ValueError: if frames differ in size or are not uint8 RGB, if the model is in training mode or cannot
            stream, for a `batch` below 1.
    """
    if batch < 1:
        raise ValueError(f"Expected `batch` to be 1 or more, but got {batch}.")
    if model.training:
        raise ValueError(
            "Expected `model` to be in evaluation mode, but it is in training mode. Call model.eval()."
        )
    if stream and not hasattr(model, "stream"):
        raise ValueError(
            f"Expected `model` to be a TV3S, which alone carries states through a clip, but got {type(model).__name__}."
        )
    scale, device, n_frames = (
        model.scale if scale == "model" else scale,
        next(model.parameters()).device,
        getattr(model, "n_frames", 1),
    )
    targets = set(targets)
    if stream:
        looks, needed, state = {}, range(max(targets, default=-1) + 1), {}
    else:
        looks = {t: references(t, n_frames) for t in targets}
        needed = sorted({i for seen in looks.values() for i in seen})
    size, prepared = None, {}
    for start in range(0, len(needed), batch):
        chunk = needed[start : start + batch]
        images = [read(i) for i in chunk]
        for i, image in zip(chunk, images, strict=True):
            size = size or image.shape[:2]
            if image.dtype != np.uint8 or image.shape != (*size, 3):
                raise ValueError(
                    f"Expected frame {i} to be {(*size, 3)} uint8 like those before it, but got {image.shape} {image.dtype}."
                )
        images = np.stack([to_network_size(image, scale) for image in images])
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            if stream:
                logits = dict(
                    zip(
                        chunk,
                        model.decode_head.stream(model.backbone(normalise(images, device)), state).split(1),
                        strict=True,
                    )
                )
            elif n_frames == 1:
                logits = dict(zip(chunk, model(normalise(images, device)).split(1), strict=True))
            else:
                logits = _decode(
                    model,
                    normalise(images, device),
                    chunk,
                    {t: looks[t] for t in chunk if t in targets},
                    prepared,
                )
        here = [t for t in chunk if t in targets]
        if here:
            yield from zip(
                here,
                to_labels(torch.cat([logits[t] for t in here]), images.shape[1:3], size).cpu().numpy(),
                strict=True,
            )


def _decode(model, images, chunk, looks, prepared):
    """Segment the targets of one chunk of frames with a video model.

    Args:
        images: (N, 3, H, W), the frames numbered `chunk`.
        looks: {target: frames that it looks at}, targets within the chunk.
        prepared: {frame: what `prepare` gave}; updated, frames that no later target looks at go.

    Returns:
        {target: logits (1, n_classes, H/4, W/4)}.
    """
    features, head = model.backbone(images), model.decode_head
    for i, *parts in zip(chunk, *head.prepare(features), strict=True):
        prepared[i] = parts
    alone, full = ([t for t in looks if (len(looks[t]) == 1) == single] for single in (True, False))
    logits = {t: head.per_frame([c[chunk.index(t)][None] for c in features]) for t in alone}
    if full:
        parts = [
            torch.stack([torch.stack([prepared[i][part] for i in looks[t]]) for t in full])
            for part in range(len(parts))
        ]
        logits.update(zip(full, head.decode(parts, features[0].shape[2:]).split(1), strict=True))
    for i in [i for i in prepared if i <= chunk[-1] - max(BACK)]:
        del prepared[i]
    return logits


def predict_frames(model, images, **options):
    """Segment all frames of a clip that is in memory.

    Args:
        model, options: see `segment`.
        images: (N, H, W, 3) uint8 RGB, or a sequence of (H, W, 3), in order. A per-frame model sees each by
            itself.

    Returns:
        (N, H, W) uint8, class ids.

    Raises:
        ValueError: as `segment`, or without frames.
    """
    if not len(images):
        raise ValueError("Expected `images` to hold at least one frame, but got none.")
    return np.stack(
        [labels for _, labels in segment(model, images.__getitem__, range(len(images)), **options)]
    )


def predict(
    model, dataset, out, *, batch=4, scale="model", device=None, bf16=False, stream=False, overwrite=False
):
    """Predict every frame of a data set and write `<out>/<clip>/<frame>.png`.

    Frames already there are left alone, so an interrupted run resumes. How they were made is not checked:
    give each model, and each `scale`, `bf16` and `stream`, a folder of its own.

    Args:
        model: of `lib.segmentors.build`; it is put into evaluation mode and, if `device` is given, moved
            there.
        dataset: `lib.clips.clip.Dataset`; truth is not needed.
        out: folder.
        batch: frames at a time.
        scale, bf16, stream: see `segment`.
        device: e.g. "cuda".
        overwrite: predict frames anew that are already there.

    Returns:
        Number of frames predicted.

    Raises:
        ValueError: as `segment`.  DataError, DataMissingError: for frames that cannot be read.
    """
    if batch < 1:
        raise ValueError(f"Expected `batch` to be 1 or more, but got {batch}.")
    model = model.to(device).eval() if device else model.eval()
    todo = [
        (
            clip,
            [i for i, frame in enumerate(clip.frames) if overwrite or not file_of(out, clip, frame).exists()],
        )
        for clip in dataset.clips
    ]
    n_frames = sum(len(frames) for _, frames in todo)
    logger.info("%s: %d frames to predict, %d there", out, n_frames, sum(map(len, dataset.clips)) - n_frames)
    threads = torch.get_num_threads()
    several = (
        threads > 1
        and next(model.parameters()).device.type == "cpu"
        and sum(bool(frames) for _, frames in todo) > 1
    )

    def one(job):
        clip, frames = job
        if several:
            # of this thread of ours: small operations share cores badly, clips share them well
            torch.set_num_threads(1)
        for i, labels in segment(
            model, clip.image, frames, batch=batch, scale=scale, bf16=bf16, stream=stream
        ):
            write_labels(file_of(out, clip, clip.frames[i]), labels)
            bar.update()

    with progress(total=n_frames) as bar:
        side_by_side(one, [job for job in todo if job[1]], threads if several else 1)
    return n_frames


def file_of(out, clip, frame):
    """Where the prediction of a frame goes."""
    return Path(out) / clip.name / f"{frame}.png"
