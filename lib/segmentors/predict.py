"""The one predict loop: frames in, label maps out, by the test protocol of the VSPW papers."""

import logging
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from lib.data import write_labels
from lib.progress import progress

logger = logging.getLogger(__name__)

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet, RGB, in grey levels


def to_network_size(image, scale):
    """Resize a frame to what a network sees.

    Args:
        image: (H, W, 3) uint8.
        scale: (long, short) side in pixels that the frame is to fit into, its ratio kept; None leaves it at its own size.

    Returns:
        (H', W', 3) uint8, H' and W' multiples of 32 (rounded up, ratio not kept); e.g. 480x853 -> 480x864.

    Source: test pipeline of CFFM, MRCFA and TV3S: two resizes, OpenCV's bilinear on uint8, no antialias, no padding.
    """
    if scale is not None:
        height, width = image.shape[:2]
        ratio = min(max(scale) / max(height, width), min(scale) / min(height, width))
        image = cv2.resize(image, (int(width * ratio + 0.5), int(height * ratio + 0.5)), interpolation=cv2.INTER_LINEAR)
    height, width = image.shape[:2]
    return cv2.resize(image, (-(-width // 32) * 32, -(-height // 32) * 32), interpolation=cv2.INTER_LINEAR)


def normalise(images, device=None):
    """(N, H, W, 3) uint8 RGB array -> (N, 3, H, W) float32 tensor, channels-last in memory."""
    images = torch.from_numpy(images).to(device).float()
    return ((images - images.new_tensor(MEAN)) / images.new_tensor(STD)).permute(0, 3, 1, 2)


def contenders(logits):
    """Find the classes that can be the largest anywhere after bilinear resizing; the others need not be resized.

    A resized pixel is a convex combination of logits within some 3x3 neighbourhood (2x2 by the first resize, of adjacent ones by the second). A class
    that is nowhere in it above another's smallest logit cannot win there.

    Args:
        logits: (1, n_classes, h, w), to be resized twice, the first time to a larger size.

    Returns:
        (K,) int64, ascending, at least one class.
    """
    winners = logits.max(1).indices.unique()  # only these can set a floor worth having
    floor = -F.max_pool2d(-logits[:, winners], 3, 1, 1).amin(1, keepdim=True)  # (1, 1, h, w): reached all over the neighbourhood of a place
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

    Source: mmsegmentation's whole-image inference: bilinear to the network's size, then to the frame's, then argmax.
    """
    labels = []
    for frame in logits.float().split(1):  # all classes at full size are large: one frame at a time
        kept = contenders(frame)
        frame = frame[:, kept].contiguous(memory_format=torch.channels_last)  # reductions over classes are faster so
        frame = F.interpolate(frame, network_size, mode="bilinear")
        if tuple(network_size) != tuple(size):
            frame = F.interpolate(frame, size, mode="bilinear")
        labels.append(kept[frame.max(1).indices])  # several times as fast as argmax on a CPU
    return torch.cat(labels).to(torch.uint8)


@torch.inference_mode()
def predict_frames(model, images, *, scale="model", bf16=False):
    """Predict frames, each by itself.

    Args:
        model: of `lib.segmentors.build`, in evaluation mode; it runs where its weights are.
        images: (N, H, W, 3) uint8 RGB, or a sequence of (H, W, 3).
        scale: see `to_network_size`; "model" takes `model.scale`, which is (853, 480) for the published widths, as the VSPW papers test, and None,
            the frame's own size, for the micro widths.
        bf16: run the network under bfloat16 autocast.

    Returns:
        (N, H, W) uint8, class ids.

    Raises:
        ValueError: if frames differ in size or are not uint8 RGB, if the model is in training mode, or if it looks at several frames of a clip.
    """
    images = list(images)
    if not images:
        raise ValueError("Expected `images` to hold at least one frame, but got none.")
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape != (*images[0].shape[:2], 3):
            raise ValueError(f"Expected `images` to be (H, W, 3) uint8 of one size, but got {image.shape} {image.dtype} beside {images[0].shape}.")
    if model.training:
        raise ValueError("Expected `model` to be in evaluation mode, but it is in training mode. Call model.eval().")
    if getattr(model, "n_frames", 1) > 1:
        raise ValueError(f"Expected `model` to look at one frame at a time, but {type(model).__name__} looks at {model.n_frames} frames of a clip.")
    scale = model.scale if scale == "model" else scale
    device = next(model.parameters()).device
    batch = np.stack([to_network_size(image, scale) for image in images])
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        logits = model(normalise(batch, device))
    return to_labels(logits, batch.shape[1:3], images[0].shape[:2]).cpu().numpy()


def predict(model, dataset, out, *, batch=4, scale="model", device=None, bf16=False, overwrite=False):
    """Predict every frame of a data set and write `<out>/<clip>/<frame>.png`.

    Frames already there are left alone, so an interrupted run resumes; give each model its own folder.

    Args:
        model: of `lib.segmentors.build`; it is put into evaluation mode and, if `device` is given, moved there.
        dataset: `lib.data.Dataset`; truth is not needed.
        out: folder.
        batch: frames at a time.
        scale, bf16: see `predict_frames`.
        device: e.g. "cuda".
        overwrite: predict frames anew that are already there.

    Returns:
        Number of frames predicted.

    Raises:
        DataError, DataMissingError: for frames that cannot be read.
    """
    if batch < 1:
        raise ValueError(f"Expected `batch` to be 1 or more, but got {batch}.")
    model = model.to(device).eval() if device else model.eval()
    todo = [(clip, [i for i, frame in enumerate(clip.frames) if overwrite or not file_of(out, clip, frame).exists()]) for clip in dataset.clips]
    n_frames = sum(len(frames) for _, frames in todo)
    logger.info("%s: %d frames to predict, %d there", out, n_frames, sum(map(len, dataset.clips)) - n_frames)
    with progress(total=n_frames) as bar:
        for clip, frames in todo:
            for start in range(0, len(frames), batch):
                chunk = frames[start:start + batch]
                labels = predict_frames(model, [clip.image(i) for i in chunk], scale=scale, bf16=bf16)
                for i, label in zip(chunk, labels, strict=True):
                    write_labels(file_of(out, clip, clip.frames[i]), label)
                bar.update(len(chunk))
    return n_frames


def file_of(out, clip, frame):
    """Where the prediction of a frame goes."""
    return Path(out) / clip.name / f"{frame}.png"
