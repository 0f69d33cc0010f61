"""Notebook 09: the findings as text, as a figure's rows and as a report, with the paper's slips and our readings."""

from collections.abc import Mapping, Sequence

import pandas as pd

from ..intervals import MIN_CLIPS, over, shown, signed
from ..report.text import COLUMNS, OVER
from ..study.study import Study
from ..tables.paper import printed_changes, read_paper
from ..tables.result import Gain, Result
from ..tables.rows import JUDGED_AS, MARGIN, record, setting_note
from .changes import BORDERS, Changes
from .ledger import PARTS, SCORES, Finding, judge
from .readings import readings
from .slips import inconsistencies
from .statements import statements


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
        f"Claims on {study.profile.title}",
        table,
        reasons,
        make_notes=lambda: claims_notes(study, findings),
        make_record=lambda: record(study),
        front=front,
    )


def ledger_table(findings: Sequence[Finding]) -> pd.DataFrame:
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


def claims_notes(study: Study, findings: Sequence[Finding]) -> list[str]:
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
        *setting_note(study),
    ]
