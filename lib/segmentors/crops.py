"""What a training sees: labelled frames, and the random crops that each step draws from them."""

import cv2
import numpy as np

from ..clips.errors import DataError, problem
from ..config import VOID
from .predict import BACK, MEAN


class Frames:
    """The labelled frames of a data set, kept in memory if they are small.

    Args:
        dataset: `lib.clips.clip.Dataset` with truth.
        n_frames: that a model looks at to segment one, see `lib.segmentors.predict.references`.
        memory_mb: what may be kept, in megabytes.
    """

    def __init__(self, dataset, n_frames=1, memory_mb=2000):
        for clip in dataset.clips:
            if not clip.has_truth:
                raise problem(
                    DataError,
                    clip.name,
                    expected="labels to train on",
                    found="none",
                    remedy="Train on a split that has labels.",
                )
        self.items, self.n_frames = [(clip, i) for clip in dataset.clips for i in range(len(clip))], n_frames
        if not self.items:
            raise problem(
                DataError,
                dataset.name,
                expected="at least one frame to train on",
                found="none",
                remedy="Check the split.",
            )
        size_mb = sum(len(clip) * clip.size[0] * clip.size[1] * 4 for clip in dataset.clips) / 1e6
        self.kept = [self.read(i) for i in range(len(self.items))] if size_mb <= memory_mb else None

    def __len__(self):
        return len(self.items)

    def read(self, i):
        clip, frame = self.items[i]
        return clip.image(frame), clip.truth(frame)

    def __getitem__(self, i):
        return self.kept[i] if self.kept else self.read(i)

    def seen(self, i):
        """Frame i and those that a model looks at with it, oldest first: (T, H, W, 3) and (T, H, W) uint8;
        before its first frame a clip stands still."""
        frame = self.items[i][1]
        back = (*BACK, 0) if self.n_frames > 1 else (0,)
        return tuple(np.stack(parts) for parts in zip(*(self[i - min(n, frame)] for n in back), strict=True))


def jitter(images, rng):
    """Photometric distortion of (..., W, 3) uint8 RGB crops, the same for all: brightness, contrast,
    saturation and hue, each half of the time.

    Source: mmsegmentation's PhotoMetricDistortion with its default ranges; contrast always comes before the
        colours here.
    """
    brightness = rng.uniform(-32, 32) * rng.integers(2)
    contrast = rng.uniform(0.5, 1.5) if rng.integers(2) else 1.0
    image = np.clip(
        (images.reshape(-1, *images.shape[-2:]) + np.float32(brightness)) * np.float32(contrast), 0, 255
    ).astype(np.uint8)
    saturation = rng.uniform(0.5, 1.5) if rng.integers(2) else 1.0
    hue = int(rng.integers(-18, 19)) * int(rng.integers(2))
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + hue) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(saturation), 0, 255)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).reshape(images.shape)


def augment(images, labels, config, rng):
    """Take the same random crop of some frames: zoom, place, flip, jitter.

    Args:
        images, labels: (T, H, W, 3) and (T, H, W) uint8.
        config: TrainConfig.
        rng: numpy Generator.

    Returns:
        The same of size `config.crop`. Beyond the frame the label is VOID and the image of mean colour.

    Source: mmsegmentation's Resize, RandomCrop (another place is tried, up to ten times, while one class
        covers over 75 % of the last frame's crop), RandomFlip, Pad.
    """
    (n, height, width), (crop_h, crop_w) = labels.shape, config.crop
    zoom = rng.uniform(*config.scales)
    # only what will be seen is resized
    h, w = min(height, round(crop_h / zoom)), min(width, round(crop_w / zoom))
    for _ in range(10):
        y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
        counts = np.bincount(labels[-1, y : y + h, x : x + w].ravel(), minlength=256)[:VOID]
        if 0 < counts.max() < 0.75 * counts.sum():
            break
    size = min(crop_w, round(w * zoom)), min(crop_h, round(h * zoom))
    seen = np.stack(
        [cv2.resize(image[y : y + h, x : x + w], size, interpolation=cv2.INTER_LINEAR) for image in images]
    )
    if config.photometric:
        seen = jitter(seen, rng)
    out, out_labels = np.empty((n, crop_h, crop_w, 3), np.uint8), np.full((n, crop_h, crop_w), VOID, np.uint8)
    out[:] = np.round(MEAN).astype(np.uint8)
    out[:, : size[1], : size[0]] = seen
    out_labels[:, : size[1], : size[0]] = [
        cv2.resize(label[y : y + h, x : x + w], size, interpolation=cv2.INTER_NEAREST) for label in labels
    ]
    return (out[:, :, ::-1], out_labels[:, :, ::-1]) if rng.integers(2) else (out, out_labels)


def make_batch(frames, step, config):
    """Draw the crops of a step: (N, T, H, W, 3) and (N, T, H, W) uint8, T frames as `Frames.seen`. They
    depend on seed and step alone, so a resumed training sees the same."""
    pairs = []
    for number in range(step * config.batch, (step + 1) * config.batch):
        epoch, place = divmod(number, len(frames))
        frame = np.random.default_rng((config.seed, 0, epoch)).permutation(len(frames))[place]
        pairs.append(
            augment(*frames.seen(int(frame)), config, np.random.default_rng((config.seed, 1, number)))
        )
    return np.stack([image for image, _ in pairs]), np.stack([label for _, label in pairs])
