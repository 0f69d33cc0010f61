"""The cheap check before costly work: the header and the end of every frame and prediction, not its pixels."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from . import panoptic
from .clip import Clip, Files, Predictions, Remembered
from .errors import DataError, DataMissingError, problem, size_problem
from .images import LABEL_MODES, check_mode, check_picture, image_header, read_image, read_label

END_OF_PNG = bytes.fromhex("0000000049454e44ae426082")  # the chunk IEND
END_OF_JPEG = b"\xff\xd9"  # the marker EOI


def check_headers(pairs: Iterable[tuple[Clip, Predictions | None]]) -> list[Exception]:
    """Look at every file of clips and of their predictions: is it a picture, complete, of the clip's size, and
    is a prediction a map of class ids? Reads a few hundred bytes of each.

    Returns: all problems, DataError or DataMissingError, in order; none of them is raised.
    """
    found = []
    for clip, predictions in pairs:
        for read in (clip.read_image, predictions and predictions.read):
            read = read.read if isinstance(read, Remembered) else read
            if isinstance(read, Files):  # a video was decoded when it was opened
                found += _problems(read)
    return found


def _problems(files: Files) -> Iterator[Exception]:
    """Check the files of one clip."""
    read = files.read.func if isinstance(files.read, partial) else files.read
    try:
        size = files.size()
    except (DataError, DataMissingError) as error:
        if read is read_image:  # or each list of files would say the same of the clip's first frame
            yield error
        size = None
    for path in files.paths[1 if size is None and read is read_image else 0 :]:
        try:
            check_file(path, read, files.read, size)
        except (DataError, DataMissingError) as error:
            yield error


def check_file(
    path: str, kind: Callable, read: Callable[[str], np.ndarray], size: tuple[int, int] | None
) -> None:
    """Check one file.

    Args:
        kind: the function that reads it: `read_image`, `read_label` or one of `panoptic`.
        read: the same, with its arguments: called for a file in which bytes follow the end. They do no harm,
            but the end may be that of a preview inside a file that breaks off; decoding tells.
        size: (H, W) that it must have; None if that is not known.

    Raises: DataMissingError; DataError for another format, mode or size, or an incomplete file.
    """
    found, mode, form = image_header(path)
    if kind is read_image:
        check_picture(path, mode)
    elif kind is read_label:
        check_mode(path, form, mode, LABEL_MODES)
    elif kind is panoptic.read_segments:
        check_mode(path, form, mode, ("RGB",), panoptic.RGB_EXPECTED, panoptic.RGB_REMEDY)
    if size is not None and found != size:
        raise size_problem(path, size, found)
    end = END_OF_PNG if form == "PNG" else END_OF_JPEG
    with open(path, "rb") as file:
        file.seek(-len(end), os.SEEK_END)
        if file.read() == end:
            return
        file.seek(0)
        if end not in file.read():
            raise problem(
                DataError,
                path,
                expected="a complete image",
                found="one that breaks off before its end",
                remedy="The file is truncated or damaged: copy or write it again.",
            )
    read(path)
