"""The ledger: what the paper claims in words, what it prints for it, what was measured here, and whether
that holds.

    changes, not_run = measured_changes(study)
    judge(changes, not_run)                     # a finding per claim and metric
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..cost.table import PAPER_FPS
from ..intervals import LEVEL
from ..tables.ablation import not_better, together
from ..tables.paper import ABLATED, printed_changes, read_paper
from ..tables.result import Gain
from ..tables.rows import JUDGED_AS, MARGIN, SCORES, at_level, p_value, verdict
from .changes import BORDERS, STOPPED_EARLY, Changes
from .holm import holm

PARTS = {  # of `lib.tables.paper.printed_changes`: what is compared, as table.csv names it
    "refiner": "refined minus base",
    "steadied": "sliding vote minus base",  # these two are no claim of the paper: see `lib.tables.refiner`
    "beyond": "refined minus sliding vote",
    "cross": "refined minus base, second data set",
    "window": "longest minus shortest window",
    "grid": "another grid minus the default",
    "iou": "another threshold on the predicted IoU minus the default",
    "stability": "another threshold on the stability minus the default",
    "below": "I-SAM2 minus base model",
    "fill": "with base fill minus without",
    "encoder": "the base model's own features minus SAM 2's",
    "trained": "the base model's own features, as I-SAM2 uses them, minus base model",
    "cost": "speed",
}


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, in our words."""

    part: str  # of PARTS
    words: str
    where: str
    # "rises", "falls", "same": see `lib.tables.rows.verdict`; "balance": see `lib.tables.ablation.not_better`
    judge: str
    metrics: tuple[str, ...]  # each is a finding of its own, but those of a balance are judged together
    printed: str = ""  # what the paper gives for it, where that stands in none of its tables


NOT_TRAINED = "base stopped early, no verdict"  # there is no other to hold the claim against
THRESHOLD = "is a good balance of the threshold on the"
VARIED = {"iou": "predicted IoU"}  # how a part of `ABLATED` is called, if not by its own name
CLAIMS = (
    Claim("refiner", "refinement raises the score of every model", "Sec. 4.1, Table 1", "rises", SCORES),
    Claim(
        "refiner",
        "refinement helps borders more than regions",
        "Abstract, Sec. 4.1, Table 1",
        "rises",
        (BORDERS,),
    ),
    Claim(
        "cross",
        "on a second data set, nothing tuned, refinement raises the score",
        "Sec. 4.1.1 and 6, Table 2",
        "rises",
        ("mBIoU", "mVC8", "mVC16"),
    ),
    Claim(
        "cross",
        "on a second data set, nothing tuned, refinement leaves the score alone",
        "Sec. 4.1.1, Table 2",
        "same",
        ("mIoU",),
    ),
    Claim("window", "a longer window raises the score", "Sec. 4.1.2, Table 4", "rises", ("mVC8", "mVC16")),
    Claim("window", "a longer window leaves the score alone", "Sec. 4.1.2, Table 4", "same", ("mIoU",)),
    Claim(
        "grid",
        "the size of the grid hardly matters",
        "Sec. 4.1.2, Table 5",
        "same",
        ("mIoU", "mVC8", "mVC16"),
    ),
    Claim(
        "iou", f"0.6 {THRESHOLD} predicted IoU", "Sec. 4.1.2, Table 6", "balance", ("mIoU", "mVC8", "mVC16")
    ),
    Claim(
        "stability", f"0.8 {THRESHOLD} stability", "Sec. 4.1.2, Table 7", "balance", ("mIoU", "mVC8", "mVC16")
    ),
    Claim("below", "I-SAM2 is below the base model", "Sec. 4.2, Table 3", "falls", ("mIoU", "mBIoU", "mVC8")),
    Claim(
        "fill",
        "filling what masklets leave uncovered helps",
        "Sec. 3.1.2, Table 3",
        "rises",
        ("mIoU", "mBIoU", "mVC8"),
    ),
    Claim(
        "encoder",
        "a base model's own features classify masklets better than SAM 2's",
        "Sec. 4.2, Table 3",
        "rises",
        ("mIoU", "mBIoU", "mVC8"),
    ),
    Claim(
        "trained",
        "even a base model's own features, used so, lose to the base model",
        "Sec. 4.2, Table 3",
        "falls",
        ("mIoU", "mBIoU", "mVC8"),
    ),
    Claim(
        "cost",
        "the refiner runs at 1.1 to 3.5 frames per second",
        "Sec. 4.1",
        "rises",
        ("frames/s",),
        f"{min(PAPER_FPS.values())} to {max(PAPER_FPS.values())}, one A100",
    ),
    Claim("cost", "a longer window is faster", "Sec. 4.1.2", "rises", ("frames/s",), "no number"),
)


@dataclass(frozen=True)
class Finding:
    """A claim about one metric (a balance: about several), what bears on it, and the verdict."""

    claim: Claim
    metrics: tuple[str, ...]
    printed: Mapping[str, tuple[float, ...]]  # {metric: the paper's changes}
    # what was compared, and its change by metric; what decides comes first
    measured: tuple[tuple[str, Mapping[str, Gain]], ...]
    verdict: str
    why: str = ""  # it was not run
    # the same of base models that were stopped early on purpose: shown, not judged
    not_judged: tuple[tuple[str, Mapping[str, Gain]], ...] = ()
    p: float = float("nan")  # of the verdict, see `lib.tables.rows.p_value`; NaN without one
    survives: bool = False  # Holm's correction over all verdicts


def judge(
    changes: Mapping[str, Changes],
    not_run: Mapping[str, str],
    claims: Sequence[Claim] = CLAIMS,
    margin: float = MARGIN,
) -> list[Finding]:
    """Hold every claim against what was measured.

    Args:
        changes: {part: {(model, setting): {metric: (change, low, high)}}}, in points, intervals paired over
            clips; more metrics than needed are no harm.
        not_run: {part: why} for parts that have no measurement.
        margin: in points, for "same".

    Returns:
        One finding per claim and metric. A claim speaks of every model and setting: it holds if it holds for
            all of them, and fails if it fails for one. The first entry of `measured` is the one that decides. A base
            model that was stopped early (its setting says so) decides nothing. `survives` is about all findings
            that have a verdict.

    Raises:
        ValueError: a part has neither measurements nor a reason.
    """
    printed, findings = printed_changes(read_paper()), []
    for claim in claims:
        if claim.part not in changes and claim.part not in not_run:
            raise ValueError(
                f"Expected changes of {claim.part!r} or a reason why there are none, but got {sorted(changes)} and {sorted(not_run)}."
            )
        for metrics in [claim.metrics] if claim.judge == "balance" else [(m,) for m in claim.metrics]:
            paper = {
                m: tuple(row[m] for row in printed.get(claim.part, {}).values() if m in row) for m in metrics
            }
            rows = [
                (key, {m: row[m] for m in metrics})
                for key, row in changes.get(claim.part, {}).items()
                if _defined(row, metrics)
            ]
            if rows:
                findings.append(_finding(claim, metrics, paper, rows, margin))
            else:
                why = not_run.get(claim.part, f"{', '.join(metrics)} is undefined on these clips")
                findings.append(Finding(claim, metrics, paper, (), "not run", why))
    survive = holm([f.p for f in findings])
    return [replace(f, survives=survives) for f, survives in zip(findings, survive)]


def _finding(
    claim: Claim, metrics: tuple[str, ...], paper: Mapping, rows: Sequence, margin: float
) -> Finding:
    """Judge one claim by all comparisons that bear on it, less those with a base that was stopped early."""
    rows = sorted(rows, key=lambda row: _against(claim.judge, row[1], margin))
    fair, other = (
        tuple((named(claim.part, *key), gains) for key, gains in rows if (key[1] == STOPPED_EARLY) == stopped)
        for stopped in (False, True)
    )
    if not fair:
        return Finding(claim, metrics, paper, (), NOT_TRAINED, not_judged=other)

    def said(level: float = LEVEL) -> str:
        at = lambda gains: {m: at_level(gain, level) for m, gain in gains.items()}
        return together([_verdict(claim.judge, at(gains), margin) for _, gains in fair])

    return Finding(claim, metrics, paper, fair, said(), not_judged=other, p=p_value(said))


def named(part: str, model: str, setting: str) -> str:
    """Name what was compared: "CFFM MiT-B1, window 32 vs 1", "CFFM MiT-N0 (stopped early)"."""
    if part in ABLATED.values() and " - " in setting:
        return f"{model}, {VARIED.get(part, part)} {setting.replace(' - ', ' vs ')}"
    return f"{model} ({setting})" if setting == STOPPED_EARLY else " ".join(filter(None, (model, setting)))


def _defined(row: Mapping[str, Gain], metrics: Sequence[str]) -> bool:
    return all(m in row and np.isfinite(row[m][0]) for m in metrics)


def _verdict(kind: str, gains: Mapping[str, Gain], margin: float) -> str:
    """Judge one comparison."""
    return not_better(gains) if kind == "balance" else verdict(*gains.values(), kind, margin)


def _against(kind: str, gains: Mapping[str, Gain], margin: float) -> tuple[int, float]:
    """Sort key: what speaks against a claim comes first, by its verdict and then by its distance."""
    said = _verdict(kind, gains, margin)
    order = 1  # no verdict
    if said in JUDGED_AS:
        order = {"does not hold": 0, "cannot be said": 2, "holds": 3}[said]
    changes, bounds = (
        [g.change for g in gains.values()],
        [value for g in gains.values() for value in g[:3] if np.isfinite(value)],
    )
    if kind == "rises":
        return order, min(bounds)
    return order, -max(abs(value) for value in bounds) if kind == "same" else -max(
        changes if kind == "balance" else bounds
    )
