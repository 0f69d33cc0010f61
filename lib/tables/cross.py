"""Table 2: the refiner on a second data set, with no parameter changed. The base models are panoptic; what
they leave void counts as a miss."""

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..clips.clip import Clip
from ..clips.errors import DataMissingError
from ..intervals import interval, leave_one_out
from ..metrics import ClipCounts
from ..refiner import refine_clip
from ..report.text import COLUMNS, OVER
from ..study.predictions import example
from ..study.segment import masklets_of
from ..study.study import NotRun, Study, open_study
from ..text import signed
from .paper import VIPSEG_ROWS, read_paper_table
from .refiner import COMPARED_BY, REFINED, Difference, beside_paper, control_notes, refiner_rows
from .result import Gain, Result
from .rows import record, restart_note, setting_note, tidy, verdict

CLAIMED = {"mIoU": "same", "mBIoU": "rises", "mVC8": "rises", "mVC16": "rises"}  # Sec. 4.1.1 and Table 2


def open_cross(study: Study, data: str = "") -> tuple[Study | None, str]:
    """Open the second data set of a study's profile, to be refined with the same SAM 2 and settings.

    Args: data: its root, "" for the drawn clips or DATA/<profile>.
    Returns: the study and "", or None and the reason why there is none.
    Raises: DataMissingError: no data in the root that was given.
    """
    name = study.profile.cross
    if not name:
        return None, f"the {study.profile.name} profile has no second data set"
    if name == study.profile.name and not data:
        return study, ""
    try:
        return open_study(name, data, study.checkpoint, study.settings), ""
    except DataMissingError:
        if data:
            raise
        return (
            None,
            f"the second data set, {name}, is not there; `python -m lib check --profile {name}` says how to get it",
        )


def cross_table(study: Study, data: str = "") -> Result:
    """Table 2: every row of the paper's table beside what was measured on the second data set.

    Args: study: of the first data set; data: as for `open_cross`.
    Returns: differences as `beside_paper` gives them. A hole of the base's predictions is a miss; a masklet
        fills it with its vote.
    Source: paper Sec. 4.1.1. Differs: the controls of Table 1 stand beside.
    """
    (second, why), printed = open_cross(study, data), printed_rows()
    title = f"Table 2 on {second.title if second else study.profile.name}"
    if not second:
        lines = [line for row, paper in printed.items() for line in tidy(*row, "", None, paper)]
        table, reasons = pd.DataFrame(lines, columns=[*COLUMNS, OVER]), {(*row, ""): why for row in printed}
        return Result(title, table, reasons, make_notes=lambda: [why], make_record=lambda: record(study))
    same = second.profile.dataset == "vipseg" and not second.profile.drawn
    table, not_run, differences = beside_paper(second, printed, same, "VIPSeg")
    return Result(
        title,
        table,
        not_run,
        differences,
        COMPARED_BY,
        make_notes=lambda: cross_notes(second, differences),
        make_record=lambda: record(second),
    )


def printed_rows() -> dict[tuple[str, str], dict[str, float]]:
    """Read the paper's Table 2 with backbones apart: {("CAVIS", "R50"), ("SAM2-CAVIS", "R50"), ("SAM2-DVIS
    (offline)", "Swin-L"), ...}."""
    table = read_paper_table(2).set_index("method")
    keys = {
        base: (refined.removeprefix("SAM2-"), base.partition("(")[2].rstrip(")").partition(",")[0])
        for refined, base in VIPSEG_ROWS.items()
    }
    keys |= {refined: (refined, keys[base][1]) for refined, base in VIPSEG_ROWS.items()}
    return {keys[name]: row.to_dict() for name, row in table.iterrows()}


def void_share(counts: list[ClipCounts]) -> str:
    """Write the share of all judged pixels for which nothing is predicted, in percent, with its 95 %
    interval over clips, cut to 0 and 100."""
    predicted, judged = (
        leave_one_out(len(counts)) @ [float(getattr(c, name).sum()) for c in counts]
        for name in ("predicted_px", "truth_px")
    )
    share = 100 * (1 - np.divide(predicted, judged, out=np.full(len(judged), np.nan), where=judged > 0))
    low, high = np.clip(interval(share)[:2], 0, 100)
    return f"{share[0]:.1f} %" + ("" if np.isnan(low) else f" [{low:.1f}, {high:.1f}]")


def void_table(study: Study) -> pd.DataFrame:
    """Lay out how much of the second data set each base model leaves void, in percent of the judged
    pixels, before and after refinement; quick after `cross_table`.

    Args: study: as `open_cross` gives it.
    """
    lines = []
    for name, method, backbone in study.profile.models:
        try:
            rows = refiner_rows(study, name)
        except NotRun:
            continue
        lines.append(
            {
                "method": method,
                "backbone": backbone,
                **{f"void, {kind}": void_share(rows[kind]) for kind in ("base", "refined")},
            }
        )
    return pd.DataFrame(lines, columns=["method", "backbone", "void, base", "void, refined"])


def cross_example(study: Study, clip: str = "") -> tuple[Clip, int, dict]:
    """Choose the frame of a clip in which refinement changes most pixels, as `lib.plots.strip` takes it:
    clip, frame, {title: label maps}.

    Args: study: as `open_cross` gives it; clip: "" for the first.
    Raises: ValueError for an unknown clip; NotRun if no base model can be run.
    """
    chosen, _, predictions = example(study, clip)
    refined = list(refine_clip(predictions, masklets_of(study, chosen)))
    t = int(np.argmax([np.count_nonzero(predictions[t] != after) for t, after in enumerate(refined)]))
    return chosen, t, {"base": predictions, "refined": refined, "truth": chosen.truth}


def own_models(study: Study) -> list[str]:
    """Say what the base models of the drawn clips are, and what their other output scores, as measured by
    `lib.mini.training.panoptic_quality`; nothing about a user's models.

    Args: study: as `open_cross` gives it.
    """
    if not study.profile.drawn:
        return []
    first = study.profile.models[0][0]
    quality = json.loads((study.profile.home / "weights" / f"{first}.json").read_text(encoding="utf-8"))
    n, trained, scores = quality["parameters"], quality["trained on"], quality["percent"]
    both = "; ".join(
        f"{kind}: mIoU {vss['mIoU']:.1f} instead of {tubes['mIoU']:.1f}, mVC8 {vss['mVC8']:.1f} instead of {tubes['mVC8']:.1f}, "
        f"{tubes['holes']:.1f} % of the pixels in no tube"
        for kind in ("online", "offline")
        for tubes, vss in [(scores[kind], scores[f"{kind}, vss"])]
    )
    return [
        f"The base models are a micro DVIS++, online ({n['online'] / 1e6:.1f} million parameters) and offline ({n['offline'] / 1e6:.1f}, with the temporal refiner, which sees the whole clip), of {quality['queries']} queries, "
        f"trained for {trained['minutes']} minutes on {trained['clips']} drawn clips: every other one has the look of these clips, none is one of them. They say nothing about the scores of released models.",
        f'The form of the base predictions matters: on {quality["clips"]} other clips of this look, {quality["frames"]} frames at 240 lines, the models\' semantic output ("vss", the class of most mass at every pixel) has other scores than the panoptic one that the table converts ({both}). Measured once, without intervals.',
    ]


def cross_notes(study: Study, differences: Mapping[Difference, Mapping[str, Gain]]) -> list[str]:
    """Say what the table was measured on and with, what refinement does to void, and whether the paper's
    claims hold here.

    Args: study: as `open_cross` gives it.
    """
    notes = [*setting_note(study), *restart_note(study)]
    notes.append(
        "No setting differs from the first data set. The predictions are panoptic, turned into classes by their JSON; where they are void nothing is predicted, which counts as a miss."
    )
    notes += own_models(study)
    for row in void_table(study).itertuples(index=False):
        notes.append(
            f"Void in the predictions of {row[0]} {row[1]}: {row[2]} of the judged pixels before refinement, {row[3]} after."
        )
    for (method, backbone, what), gain in differences.items():
        if what != REFINED:
            continue
        said = [
            f"{m} {signed(gain[m][0])} ({'leaves it alone' if claim == 'same' else claim}: {verdict(gain[m], claim)})"
            for m, claim in CLAIMED.items()
        ]
        notes.append(f"The paper's claims for {method} {backbone}: " + ", ".join(said) + ".")
    return notes + control_notes(differences)
