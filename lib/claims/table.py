"""Notebook 09: the findings as text, as a figure's rows and as a report, with the paper's slips and our readings."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..intervals import MIN_CLIPS, over
from ..report.text import COLUMNS, OVER
from ..study.study import Study
from ..tables.paper import printed_changes, read_paper
from ..tables.result import Gain, Result
from ..tables.rows import JUDGED_AS, MARGIN, SCORES, record, setting_note
from ..text import shown, signed
from .changes import BORDERS, Changes
from .ledger import NOT_TRAINED, PARTS, Finding, judge
from .readings import readings
from .slips import inconsistencies
from .statements import statements

SURVIVES = "survives Holm's correction"
COLUMNS_OF_LEDGER = [
    *("claim", "the paper says it in", "metric", "change in the paper", "change measured here", "verdict"),
    SURVIVES,
]


def claims_table(study: Study, changes: Mapping[str, Changes], not_run: Mapping[str, str]) -> Result:
    """Make the report on the paper's claims from what was measured.

    Args: as for `lib.claims.ledger.judge`.
    Returns: the table of `change_lines`; before it, as `front`, the ledger ("Claims"), where the paper
        contradicts itself, its statements about printed numbers, and our readings.
    """
    table, reasons = change_lines(changes, not_run)
    findings, paper = judge(changes, not_run), read_paper()
    front = {
        "Claims": ledger_table(findings),
        "Inconsistencies inside the paper": inconsistencies(paper).astype(str),
        "Statements of the text about printed numbers": statements(paper),
        "Readings": readings(),
    }
    return Result(
        f"Claims on {study.title}",
        table,
        reasons,
        make_notes=lambda: claims_notes(study, findings),
        make_record=lambda: record(study),
        front=front,
    )


def ledger_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """Lay the findings out as rounded text: claim, where, metric, paper, measured, verdict, and whether that
    survives Holm's correction."""
    lines = []
    for f in findings:
        paper, n = (
            ", ".join(_name(f, m) + _printed(values) for m, values in f.printed.items()),
            max(map(len, f.printed.values())),
        )
        lines.append(
            {
                "claim": f.claim.words,
                "the paper says it in": f.claim.where,
                "metric": ", ".join(f.metrics),
                "change in the paper": f.claim.printed or (f"{paper} ({n} rows)" if n > 1 else paper),
                "change measured here": _measured(f),
                "verdict": _verdict(f),
                SURVIVES: ("yes" if f.survives else "no") if decided(f) else "",
            }
        )
    return pd.DataFrame(lines, columns=COLUMNS_OF_LEDGER)


def _measured(f: Finding) -> str:
    """Write the change that decides, and those that are shown without being judged."""
    lines = [
        f"{what}: "
        + ", ".join(_name(f, m) + shown(gain) for m, gain in gains.items())
        + (f" (worst of {n})" if n > 1 else "")
        + f"; over {' or '.join(dict.fromkeys(g.over or over(g.n, g.unit) for g in gains.values()))}"
        for (what, gains), n in ([(f.measured[0], len(f.measured))] if f.measured else [])
    ]
    lines += [
        f"not judged, {what}: " + ", ".join(_name(f, m) + shown(gain) for m, gain in gains.items())
        for what, gains in f.not_judged
    ]
    return "; ".join(lines)


def _verdict(f: Finding) -> str:
    """Write the verdict, with the handicap of what was left out of it."""
    if f.why:
        return f"not run: {f.why}"
    without = (
        f"; without {', '.join(what for what, _ in f.not_judged)}" if f.measured and f.not_judged else ""
    )
    return f.verdict + without


def decided(f: Finding) -> bool:
    """Say whether a claim was found to hold or not to hold."""
    return f.verdict in ("holds", "does not hold")


def _name(finding: Finding, metric: str) -> str:
    return f"{metric} " if len(finding.metrics) > 1 else ""


def _printed(values: Sequence[float]) -> str:
    """Write the paper's changes by their range."""
    ends = dict.fromkeys((signed(min(values)), signed(max(values)))) if values else ()
    return " to ".join(ends)


def change_lines(changes: Mapping[str, Changes], not_run: Mapping[str, str]) -> tuple[pd.DataFrame, dict]:
    """Lay all changes out as a tidy table, in points.

    Returns:
        table: columns `COLUMNS` and `OVER`; method is what is compared, `PARTS`, then model and setting; metrics are
            named "mIoU change"; the paper's change stands beside one of the same model and setting.
        not_run: {(method, "", ""): why} for parts without a measurement.
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


def forest_rows(findings: Sequence[Finding]) -> list[tuple[str, str, str, list[Gain], str]]:
    """List what `lib.plots.forest` draws: (claim, label, verdict, changes, what is claimed), the deciding change
    first; a balance has a row for each metric, and a base that was stopped early one of its own."""
    label = lambda f, m: (
        f"{m}: {f.measured[0][0]}" + (f", worst of {len(f.measured)}" if len(f.measured) > 1 else "")
    )
    rows = []
    for f in findings:
        for m in f.metrics:
            if f.measured:
                changes = [gains[m] for _, gains in f.measured]
                rows.append((f.claim.words, label(f, m), f.verdict, changes, f.claim.judge))
            rows += [
                (f.claim.words, f"{m}: {what}", NOT_TRAINED, [gains[m]], f.claim.judge)
                for what, gains in f.not_judged
            ]
    return rows


def claims_notes(study: Study, findings: Sequence[Finding]) -> list[str]:
    """Say how the verdicts come about, and how many there are of each."""
    said = [f.verdict for f in findings]
    count = ", ".join(
        f"{v}: {said.count(v)}"
        for v in (*JUDGED_AS, *sorted(set(said) - {*JUDGED_AS, "not run"}), "not run")
        if v in said
    )
    sure, survive = sum(map(decided, findings)), sum(f.survives for f in findings if decided(f))
    return [
        f"{len(findings)} claims, each about a metric. {count[0].upper()}{count[1:]}.",
        f"Of the {sure} that hold or do not hold, {survive} survive Holm's correction over all {sum(np.isfinite(f.p) for f in findings)} verdicts "
        "(those that cannot be said among them). The others may be chance: of many verdicts at 95 % some are wrong.",
        *_handicaps(study, findings),
        "The script's mVC compares a prediction with itself: a base that is steadied by anything gains it. "
        f'The rows "{PARTS["steadied"]}" and "{PARTS["beyond"]}" below say how much SAM 2 adds; they are no claim of the paper.',
        f'Changes are in points, with 95 % intervals, paired over clips; there is no verdict over fewer than {MIN_CLIPS}. "Raises", "better" and "below" hold if the whole interval lies on that side of zero, and fail if it lies on the '
        f'other. "Leaves alone" and "hardly matters" hold if the whole interval lies within {MARGIN} points of zero, and fail if all of it lies outside; the paper calls a spread of {MARGIN} points minimal (Table 5).',
        f"A value is a good balance if every other one gains at most {MARGIN} points in mIoU and mVC, or loses in one of them. A claim about several models or settings holds if it holds for each, and fails if it fails "
        "for one; the one that decides is shown, and the others stand in the table of all changes. "
        'The paper says that I-SAM2 is "far" below: "below" is judged, "far" is not; the change says how far.',
        *setting_note(study),
    ]


def _handicaps(study: Study, findings: Sequence[Finding]) -> list[str]:
    """Say which base models are shown without being judged, and why."""
    shown_only = {what for f in findings for what, _ in f.not_judged}
    return [
        f"The training of {method} {backbone} was stopped early on purpose ({why}). Claims about a trained base model are not judged by it, "
        "because what it is compared with was trained to the end; its changes are shown."
        for _, method, backbone in study.profile.models
        if (why := study.profile.why_stopped(method, backbone))
        and any(f"{method} {backbone}" in what for what in shown_only)
    ]
