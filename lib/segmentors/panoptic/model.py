"""The whole model: backbone, segmenter, tracker and, if offline, refiner."""

from dataclasses import dataclass

import torch
import torch.nn as nn

from ..mit import MiT
from .config import N_CLASSES, Config
from .decoder import MaskDecoder, Queries
from .pixel_decoder import PixelDecoder
from .refiner import TemporalRefiner
from .resnet import ResNet50
from .swin import SwinL
from .trackers import TRACKERS, State, Tracked


@dataclass
class Segmented:
    """What the segmenter makes of N frames."""

    backbone: list[torch.Tensor]  # res2 .. res5
    features: torch.Tensor  # (N, dim, H/4, W/4), mask features
    maps: list[torch.Tensor]  # ms0, ms1, ms2
    queries: Queries


class MicroMiT(MiT):
    """The micro MiT of this project as a backbone."""

    def __init__(self):
        super().__init__("n1")
        self.dims = (16, 32, 96, 160)


BACKBONES = {"r50": ResNet50, "swinl": SwinL, "n1": MicroMiT}


class VideoPanoptic(nn.Module):
    """A video panoptic model; children and parameters are named as in released files.

    Attributes: config, n_classes.
    """

    def __init__(self, config: Config, n_classes: int = N_CLASSES):
        super().__init__()
        self.config, self.n_classes = config, n_classes
        self.backbone = BACKBONES[config.backbone]()
        self.sem_seg_head = nn.Module()
        self.sem_seg_head.pixel_decoder = PixelDecoder(
            self.backbone.dims, config.dim, config.heads, config.encoder_layers, config.encoder_hidden
        )
        self.sem_seg_head.predictor = MaskDecoder(config, n_classes)
        self.tracker = TRACKERS[config.tracker](config, n_classes)
        self.refiner = TemporalRefiner(config, n_classes) if config.offline else None

    def segment(self, images: torch.Tensor) -> Segmented:
        """Segment frames, each by itself: (N, 3, H, W), normalised, sides multiples of 32."""
        backbone = self.backbone(images)
        features, maps = self.sem_seg_head.pixel_decoder(backbone)
        return Segmented(backbone, features, maps, self.sem_seg_head.predictor(features, maps))

    def track(self, queries: Queries, state: State) -> tuple[list[Tracked], State]:
        """Track the queries of frames that follow those of `state`; returns what each frame's are, and the
        new state.
        """
        told = []
        for embedding, raw in zip(queries.embedding, queries.raw):
            frame, state = self.tracker(embedding, raw, state)
            told.append(frame)
        return told, state
