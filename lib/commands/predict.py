"""`python -m lib predict`: predict a data set with a base model."""

import argparse
import json
import shutil
from pathlib import Path

from ..clips.clip import Dataset
from ..clips.datasets import read_dataset
from ..clips.digests import digests, frames_digest
from ..clips.errors import DataError, DataMissingError, all_of, problem
from ..clips.headers import check_headers
from ..clips.panoptic import read_index
from ..files import write_json
from ..study.cache import VERSIONS
from . import options
from .records import Record, compare

PREDICTED = "_predicted.json"  # in OUT: what the predictions were made of

EXAMPLES = """example:
  python -m lib predict --model cffm-b1 --weights cffm_b1.pth --data VSPW_480p data/predictions/vspw/cffm-b1

Run again after an interruption: frames that are there are left alone.
OUT/_predicted.json records what they were made of; a run that would mix others among them is refused.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="such as segformer-b1 or dvis-swinl-offline"
    )
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--weights", metavar="FILE", help="its weights, .safetensors or a released .pth")
    # the flag's name in earlier versions; elsewhere --checkpoint is SAM 2's
    weights.add_argument("--checkpoint", dest="weights", help=argparse.SUPPRESS)
    options.add_data(parser, "--data")
    parser.add_argument("out", metavar="OUT", help="folder to write <clip>/<frame>.png into")
    parser.add_argument(
        "--batch", type=int, default=4, metavar="N", help="frames at a time (default: %(default)s)"
    )
    options.add_overwrite(parser)
    options.add_device(parser, "bfloat16: faster on a GPU")
    parser.add_argument(
        "--stream",
        action="store_true",
        help="TV3S: carry the states through the whole clip (mode 2), not from t-9, t-6, t-3 (mode 0)",
    )
    parser.add_argument(
        "--form",
        choices=("panoptic", "semantic", "vss"),
        help="of DVIS, DVIS++, CAVIS: pan_pred/ and pred.json (default), the same as class ids, or the class of "
        "most mass at every pixel",
    )


def run(args: argparse.Namespace) -> int:
    """Predict a data set with a base model."""
    dataset = read_dataset(args.dataset, args.data, args.split)
    if errors := check_headers((clip, None) for clip in dataset.clips):
        raise all_of(errors)
    if not Path(args.weights).is_file():
        raise problem(
            DataMissingError,
            args.weights,
            expected="a file of weights",
            found="no such file",
            remedy="Check the path, or fetch the weights again.",
        )

    from .. import segmentors  # late: torch takes seconds to load

    model = segmentors.load(args.model, args.weights)
    n_frames = predict_folder(
        model,
        dataset,
        args.out,
        args.weights,
        name=args.model,
        overwrite=args.overwrite,
        batch=args.batch,
        device=options.device_of(args.device),
        bf16=args.bf16,
        stream=args.stream,
        form=args.form,
    )
    n_all = sum(map(len, dataset.clips))
    print(f"{args.out}: {n_frames} frames predicted, {n_all - n_frames} were there")
    return 0


def predict_folder(
    model,
    dataset: Dataset,
    out: str | Path,
    weights: str | Path,
    *,
    name: str = "",
    overwrite: bool = False,
    bf16: bool = False,
    stream: bool = False,
    form: str | None = None,
    **predict_options,
) -> int:
    """Predict a data set into a folder, with a record beside the predictions of what they were made of.

    Args:
        model: of `lib.segmentors.load`.
        weights: the file that the model was loaded from.
        name: of the model, for the record.
        overwrite: replace predictions that this run would make otherwise.
        bf16, stream, form, predict_options: for `lib.segmentors.predict.predict`.

    Returns: the number of frames predicted now.
    Raises: DataError if `out` holds predictions made otherwise.
    """
    from ..segmentors import predict as predictor
    from ..segmentors.panoptic import predict as panoptic
    from ..segmentors.panoptic.config import CONFIGS

    out = Path(out)
    # a panoptic model writes the authors' own format unless label maps are asked for
    is_panoptic = name in CONFIGS
    if is_panoptic and stream:
        raise ValueError(f"Expected --stream with a TV3S alone, but got it with {name}.")
    if form and not is_panoptic:
        raise ValueError(f"Expected --form with a panoptic model alone, but got it with {name}: label maps.")
    if stream and not hasattr(model, "stream"):
        raise ValueError(
            f"Expected --stream with a TV3S alone, but got it with {name or type(model).__name__}."
        )
    if predict_options.get("batch", 1) < 1:
        raise ValueError(f"Expected `batch` to be 1 or more, but got {predict_options['batch']}.")
    tubes, index = out / "pan_pred", out / "pred.json"
    listed = read_index(index) if index.exists() else {}
    writes_tubes = is_panoptic and form in (None, "panoptic")
    record = Record(
        out / PREDICTED,
        {
            "model": name,
            "weights": digests([weights])[0],
            "scale": getattr(model, "scale", None),
            "bf16": bf16,
            "stream": stream,
            **({"form": form or "panoptic"} if is_panoptic else {}),
            "version": VERSIONS["predictions"],
        },
        {clip.name: {"frames": frames_digest(clip)} for clip in dataset.clips},
        # of either form: who reads the folder takes pred.json first
        lambda clip: clip in listed or any(any((of / clip).glob("*.png")) for of in (out, tubes)),
        overwrite,
    )
    compare([record])
    others = [clip for clip in listed if clip not in record.clips]  # tubes of these would be lost
    if index.exists() and not writes_tubes and (others or not overwrite):
        raise problem(
            DataError,
            index,
            expected="no panoptic predictions in a folder of label maps",
            found=f"some of {len(listed)} clips, {len(others)} of which this run does not have",
            remedy="Choose another folder."
            if others
            else "Add --overwrite to remove them, or choose another folder.",
        )
    stale = record.stale()
    for clip in stale:
        for old in [*(out / clip).glob("*.png"), *(tubes / clip).glob("*.png")]:
            old.unlink()
    if index.exists() and not writes_tubes:
        index.unlink()
        shutil.rmtree(tubes, ignore_errors=True)
    elif index.exists() and stale:
        kept = json.loads(index.read_text(encoding="utf-8"))["annotations"]
        write_json(index, {"annotations": [video for video in kept if video["video_id"] not in stale]})
    for clip in dataset.clips:  # before the first frame: whatever comes into the folder is known
        if not record.done(clip.name):
            record.write(clip.name, done=False)
    if is_panoptic:
        n_frames = panoptic.predict(
            model,
            dataset,
            out,
            form=form or "panoptic",
            window=predict_options.pop("batch", 3),
            bf16=bf16,
            **predict_options,
        )
    else:
        n_frames = predictor.predict(model, dataset, out, bf16=bf16, stream=stream, **predict_options)
    for clip in dataset.clips:
        if not record.done(clip.name):
            record.write(clip.name, done=True)
    return n_frames
