"""Frames, labels and predictions from disk: one picture at a time, each checked when it is read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clip": ["Clip", "Dataset", "Predictions"],
        "errors": ["DataError", "DataMissingError"],
        "folders": ["read_frames", "read_predictions"],
        "datasets": ["read_camvid", "read_dataset", "read_vipseg", "read_vspw"],
        "images": ["write_labels"],
    },
)
