"""Frames of a video file, decoded in order."""

import functools
import os
import threading
from pathlib import Path

import cv2
import numpy as np

from ..files import logger
from .errors import DataError, DataMissingError, problem

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")


class _Video:
    """An open video and the number of the frame it stands on."""

    def __init__(self, path: str):
        self.path, self.lock = path, threading.Lock()
        self.rewind()

    def rewind(self) -> None:
        self.capture, self.at = cv2.VideoCapture(self.path, cv2.CAP_FFMPEG), -1

    def frame(self, i: int) -> np.ndarray | None:
        """Decode forward to frame i and return it as BGR; None if the video ends before."""
        if i < self.at:
            self.rewind()
        while self.at < i:
            if not self.capture.grab():
                self.rewind()  # what an exhausted capture still holds is not defined
                return None
            self.at += 1
        return self.capture.retrieve()[1]


@functools.lru_cache(maxsize=2)
def _video(path: str, modified: int, process: int) -> _Video:
    """Keep a video open between frames; a changed file and a forked process get their own."""
    return _Video(path)


def video_shape(path: str | Path) -> tuple[int, int, int]:
    """Count a video's frames by decoding it once (containers only estimate) and return (n_frames, H, W)."""
    if not Path(path).is_file():
        raise problem(
            DataMissingError, path, expected="a video", found="no such file", remedy="Check the path."
        )
    video = _Video(str(path))
    first = video.frame(0)
    if first is None:
        raise problem(
            DataError,
            path,
            expected="a video",
            found="no frame that can be decoded",
            remedy="The file is truncated or its codec is unknown: convert it to H.264 mp4, or to a folder of JPEG frames.",
        )
    claimed, n_frames = int(video.capture.get(cv2.CAP_PROP_FRAME_COUNT)), 1
    while video.capture.grab():
        n_frames += 1
    if n_frames < claimed:  # edit lists make this legitimate, truncation does not: say it and go on
        logger.warning(
            "%s: the container announces %d frames, %d can be decoded; the file may be truncated",
            path,
            claimed,
            n_frames,
        )
    return n_frames, *first.shape[:2]


def read_video_frame(path: str | Path, i: int) -> np.ndarray:
    """Read frame i of a video as (H, W, 3) uint8 RGB.

    In order it is one decode a frame. Backwards it starts again from frame 0, because seeking by number is
    wrong for some codecs.
    """
    if not Path(path).is_file():
        raise problem(
            DataMissingError, path, expected="a video", found="no such file", remedy="Restore the file."
        )
    video = _video(str(path), os.stat(path).st_mtime_ns, os.getpid())
    with video.lock:
        frame = video.frame(i)
    if frame is None:
        raise problem(
            DataError,
            path,
            expected=f"frame {i}",
            found="a video that ends before it",
            remedy="The file has changed or is damaged: read it again.",
        )
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
