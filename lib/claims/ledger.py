"""The ledger: what the paper claims in words, what it prints for it, what was measured here, and whether
that holds.

    changes, not_run = measured_changes(study)
    findings = judge(changes, not_run)
    ledger(findings)                            # a line per claim and metric, as text
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..config import MaskletSettings
from ..cost.table import PAPER_FPS
from ..intervals import MIN_CLIPS, over, shown, signed
from ..report.text import COLUMNS, OVER
from ..study.study import Study
from ..tables.ablation import not_better, together
from ..tables.paper import printed_changes, read_paper
from ..tables.rows import JUDGED_AS, MARGIN, Gain, setting_note, verdict
from .changes import BORDERS, Changes

PARTS = {  # of `lib.tables.paper.printed_changes`: what is compared, as table.csv names it
    "refiner": "refined minus base",
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


SCORES = ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16")
THRESHOLD = "is a good balance of the threshold on the"
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
    Claim(
        "below", "I-SAM2 is far below the base model", "Sec. 4.2, Table 3", "falls", ("mIoU", "mBIoU", "mVC8")
    ),
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
            all of them, and fails if it
        fails for one. The first entry of `measured` is the one that decides.

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
                (" ".join(filter(None, key)), {m: row[m] for m in metrics})
                for key, row in changes.get(claim.part, {}).items()
                if _defined(row, metrics)
            ]
            if rows:
                rows.sort(key=lambda row: _against(claim.judge, row[1], margin))
                findings.append(
                    Finding(
                        claim,
                        metrics,
                        paper,
                        tuple(rows),
                        together([_verdict(claim.judge, gains, margin) for _, gains in rows]),
                    )
                )
            else:
                why = not_run.get(claim.part, f"{', '.join(metrics)} is undefined on these clips")
                findings.append(Finding(claim, metrics, paper, (), "not run", why))
    return findings


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


def ledger(findings: Sequence[Finding]) -> pd.DataFrame:
    """Lay the findings out as rounded text: claim, where, metric, paper, measured, verdict."""
    lines = []
    for f in findings:
        paper, n = (
            ", ".join(_name(f, m) + _printed(values) for m, values in f.printed.items()),
            max(map(len, f.printed.values())),
        )
        paper = f.claim.printed or (f"{paper} ({n} rows)" if n > 1 else paper)
        measured = ""
        if f.measured:
            (what, gains), n = f.measured[0], len(f.measured)
            measured = (
                f"{what}: "
                + ", ".join(_name(f, m) + shown(gain) for m, gain in gains.items())
                + (f" (worst of {n})" if n > 1 else "")
                + f"; over {' or '.join(dict.fromkeys(g.over or over(g.n, g.unit) for g in gains.values()))}"
            )
        lines.append(
            (
                f.claim.words,
                f.claim.where,
                ", ".join(f.metrics),
                paper,
                measured,
                f"not run: {f.why}" if f.why else f.verdict,
            )
        )
    return pd.DataFrame(
        lines,
        columns=[
            "claim",
            "the paper says it in",
            "metric",
            "change in the paper",
            "change measured here",
            "verdict",
        ],
    )


def _name(finding: Finding, metric: str) -> str:
    return f"{metric} " if len(finding.metrics) > 1 else ""


def _printed(values: Sequence[float]) -> str:
    """Write the paper's changes by their range."""
    shown = dict.fromkeys((signed(min(values)), signed(max(values)))) if values else ()
    return " to ".join(shown)


def claims_table(changes: Mapping[str, Changes], not_run: Mapping[str, str]) -> tuple[pd.DataFrame, dict]:
    """Make the tidy table of all changes, in points.

    Returns:
        table: columns `COLUMNS` and `OVER`; method is what is compared, `PARTS`, then model and setting; metrics are
            named "mIoU change"; the paper's change stands beside one of the same model and setting.
        not_run: {(method, "", ""): why} for parts without a measurement, as `lib.report.table.save` takes it.
    """
    printed, lines, reasons, nan = printed_changes(read_paper()), [], {}, float("nan")
    for part, what in PARTS.items():
        for key, row in changes.get(part, {}).items():
            paper = printed.get(part, {}).get(key, {})
            lines += [
                (what, *key, f"{m} change", *row[m][:3], paper.get(m, nan), row[m].over)
                for m in (*SCORES, BORDERS)
                if m in row
            ]
        if part in not_run:
            lines.append((what, "", "", "frames/s" if part == "cost" else "mIoU change", *[nan] * 4, ""))
            reasons[what, "", ""] = not_run[part]
    return pd.DataFrame(lines, columns=[*COLUMNS, OVER]), reasons


def forest_rows(findings: Sequence[Finding]) -> list[tuple[str, str, str, list[Gain]]]:
    """List what `lib.plots.forest` draws: (claim, label, verdict, changes), the deciding change first; a
    balance has a row for each metric."""
    label = lambda f, m: (
        f"{m}: {f.measured[0][0]}" + (f", worst of {len(f.measured)}" if len(f.measured) > 1 else "")
    )
    return [
        (f.claim.words, label(f, m), f.verdict, [gains[m] for _, gains in f.measured])
        for f in findings
        if f.measured
        for m in f.metrics
    ]


def claims_notes(study: Study, settings: MaskletSettings, findings: Sequence[Finding]) -> list[str]:
    """Say how the verdicts come about, and how many there are of each."""
    said = [f.verdict for f in findings]
    count = ", ".join(
        f"{v}: {said.count(v)}"
        for v in (*JUDGED_AS, *sorted(set(said) - {*JUDGED_AS, "not run"}), "not run")
        if v in said
    )
    return [
        f"{len(findings)} claims, each about a metric. {count[0].upper()}{count[1:]}.",
        f'Changes are in points, with 95 % intervals, paired over clips; there is no verdict over fewer than {MIN_CLIPS}. "Raises", "better" and "below" hold if the whole interval lies on that side of zero, and fail if it lies on the '
        f'other. "Leaves alone" and "hardly matters" hold if the whole interval lies within {MARGIN} points of zero, and fail if all of it lies outside; the paper calls a spread of {MARGIN} points minimal (Table 5).',
        f"A value is a good balance if every other one gains at most {MARGIN} points in mIoU and mVC, or loses in one of them. A claim about several models or settings holds if it holds for each, and fails if it fails "
        'for one; the one that decides is shown. "Far" below is judged as below; how far, the change says.',
        *setting_note(study, settings),
    ]
