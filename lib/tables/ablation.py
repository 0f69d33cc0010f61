"""Tables 4 to 7: one setting of the masklets varied, all else at its default, and what the paper says of it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from ..study.study import Study
from ..text import shown, signed
from .ablation_scores import DEFAULT, ablation_clips, ablation_lines, ablation_of, masklet_density
from .result import Gain, Result
from .rows import JUDGED_AS, MARGIN, no_verdict, record, seen_note, setting_note, verdict

JUDGED = ("mIoU", "mVC8", "mVC16")  # what the paper's words on the ablations speak of


def ablation_table(study: Study, number: int, model: str = "", clips: int = 0) -> Result:
    """Tables 4 to 7: a row for the base, one for each value, and the paper's beside them.

    Args: as for `lib.tables.ablation_scores.ablation_counts`.
    Returns: differences as `lib.tables.ablation_scores.ablation_lines` gives them.
    Raises: NotRun: `model` was named and lacks its inputs.  ValueError: no ablation has that number.
    """
    table, not_run, differences = ablation_lines(study, number, model, clips)
    return Result(
        f"Table {number} ({ablation_of(number).label}) on {ablation_clips(study, clips).title}",
        table,
        not_run,
        differences,
        ("value", "minus"),
        make_notes=lambda: ablation_notes(study, number, differences, clips),
        make_record=lambda: ablation_record(study, number, clips),
    )


def not_better(gains: Mapping[str, Gain]) -> str:
    """Judge the claim that another value is no better than the default, by its scores minus the default's:
    it gains next to nothing, or loses in one."""
    judged = [gains[m] for m in JUDGED]
    if why := next(filter(None, map(no_verdict, judged)), ""):
        return why
    if all(gain.high <= MARGIN for gain in judged) or any(gain.high < 0 for gain in judged):
        return "holds"
    return "does not hold" if any(gain.low > MARGIN for gain in judged) else "cannot be said"


def together(verdicts: Sequence[str]) -> str:
    """Judge a claim that speaks of several values: it holds if it does for all, and fails if it does for
    one; of a value without a verdict, it says why there is none."""
    reasons = [verdict for verdict in verdicts if verdict not in JUDGED_AS]
    if reasons:
        return reasons[0]
    return next((v for v in ("does not hold", "cannot be said") if v in verdicts), "holds")


def ablation_claims(
    number: int, differences: Mapping[tuple[str, str], Mapping[str, Gain]]
) -> list[tuple[str, str, str]]:
    """What the paper says of the table, what was measured, and whether it holds: (claim, measured,
    verdict); nothing if nothing was run.

    Source: paper Sec. 4.1.2.
    """
    default = ablation_of(number).default
    against = {value: gains for (value, other), gains in differences.items() if other == "default"}
    by_value = lambda metric: ", ".join(
        f"{value}: {signed(gains[metric][0])}" for value, gains in against.items()
    )
    if not against:
        return []
    if number == 4:
        rise = {m: -against["1"][m] for m in ("mVC8", "mVC16")}
        mIoU_stays = together([verdict(gains["mIoU"], "same") for gains in against.values()])
        return [
            *(
                (f"a longer window raises {m}", f"window {default} minus 1: {shown(gain)}", verdict(gain))
                for m, gain in rise.items()
            ),
            (
                f"the window leaves mIoU alone (within {MARGIN} points of window {default})",
                by_value("mIoU"),
                mIoU_stays,
            ),
        ]
    if number == 5:
        same = f"the grid hardly matters: {{}} stays within {MARGIN} points of grid {default}"
        return [
            (same.format(m), by_value(m), together([verdict(gains[m], "same") for gains in against.values()]))
            for m in JUDGED
        ]
    balance = together([not_better(gains) for gains in against.values()])
    claim = f"{default} is a good balance: no other value gains more than {MARGIN} points in mIoU or mVC, unless it loses in another of them"
    return [(claim, "; ".join(f"{m} {by_value(m)}" for m in JUDGED), balance)]


def ablation_notes(
    study: Study, number: int, differences: Mapping[tuple[str, str], Mapping[str, Gain]], clips: int = 0
) -> list[str]:
    """Say in words what was varied on what, how many masklets that gives, and whether the paper's words
    hold here."""
    on, chosen = ablation_clips(study, clips), ablation_of(number)
    notes = [*setting_note(on.under(DEFAULT)), *seen_note(study)]
    notes.append(
        f"Each row changes one setting alone ({chosen.label}), on the first {len(on.dataset.clips)} of {len(study.dataset.clips)} clips."
    )
    if not differences:
        return notes
    longest = max(map(len, on.dataset.clips))
    if number == 4 and (restarting := [w for w in chosen.values if w < longest]):
        notes.append(
            f"The clips here have at most {longest} frames: windows restart in the rows up to {max(restarting)}, and in longer ones never."
        )
    density = masklet_density(study, number, clips)
    notes.append(
        "Masklets per frame (share of the frame in a masklet): "
        + ", ".join(f"{v}: {n:.1f} ({covered:.0f} %)" for v, (n, covered) in density.items())
        + "."
    )
    notes += [
        f"The paper's claim that {claim}: {said} ({judged})."
        for claim, said, judged in ablation_claims(number, differences)
    ]
    if number in (6, 7):
        masklets = [n for n, _ in density.values()]
        falls = all(after <= before for before, after in pairwise(masklets))
        seen = f"{masklets[0]:.1f} to {masklets[-1]:.1f} a frame ({'holds' if falls else 'does not hold'})"
        notes.append(f"The paper's claim that a higher threshold leaves fewer masklets: {seen}.")
    return notes


def ablation_record(study: Study, number: int, clips: int = 0) -> dict:
    """Provenance of an ablation: as of any table, with all its values and the number of its clips."""
    chosen = ablation_of(number)
    varied = {chosen.field: list(chosen.values), "clips": len(ablation_clips(study, clips).dataset.clips)}
    return record(study.under(DEFAULT), parameters=varied)
