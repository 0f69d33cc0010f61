"""What came out, in short sentences made from the numbers: Markdown bullets for a notebook, under its figure.

    display(Markdown(findings.refiner_findings(result, run.extent)))

A change is in points and has its 95 % interval. "Rises" and "falls" are said where the whole interval lies on that
side of zero; where it does not, or where clips are too few, the sentence says so.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from ..clips.clip import Clip
from ..intervals import MIN_CLIPS
from ..study.study import NotRun, Study
from ..text import rounded, shown, signed
from .ablation import ablation_claims
from .ablation_scores import ablation_of
from .cross import cross_example, void_table
from .refiner import LABELS
from .result import Gain, Result
from .rows import JUDGED_AS, verdict
from .segmentor import CLAIMS, stopped_early

READ = ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC8_eq4")  # of the seven scores, what sentences are made of
NAMES = {
    "mVC8": "mVC8 by the script",
    "mVC16": "mVC16 by the script",
    "mVC8_eq4": "mVC8 by Eq. 4",
    "mVC16_eq4": "mVC16 by Eq. 4",
}
PREFIX, REGIONS = (LABELS[kind].partition("{}")[0] for kind in ("refined", "regions"))
AGAINST_BASE = "refined minus base"  # what is compared, where a key of the differences does not say
DIRECTIONS = {"holds": "rises", "does not hold": "falls"}  # what the verdict on "rises" says of a change
ABOVE = {"holds": "is above zero", "does not hold": "is below zero"}  # of a difference of two methods
SIDES = {"holds": "above zero", "does not hold": "below zero"}  # and of a difference


def bullets(sentences: Iterable[str]) -> str:
    """Return sentences as a Markdown list; what Markdown would take for a tag or a line of a table is kept."""
    escaped = (" ".join(said.split()).replace("<", "\\<").replace("|", "\\|") for said in sentences)
    return "\n".join(f"- {said}" for said in escaped)


def refiner_findings(result: Result, extent: str = "") -> str:
    """Say what refinement changed for the base models of Table 1, and what the controls say of it.

    Args: result: as `refiner_table` gives it; extent: on how much was measured.
    """
    changes = _changes(result)
    if not changes:
        return bullets(["Nothing was measured here."])
    said = [
        f"Measured on {extent or over_words(changes)}: the refined score minus the base's, paired over clips. "
        f"Nothing is judged over fewer than {MIN_CLIPS} clips."
    ]
    said += _sentences(changes)
    for what in dict.fromkeys(key[2] for key in result.differences if len(key) > 2):
        if what.startswith("refined minus ") and what != AGAINST_BASE:
            each = _sentences(_changes(result, what), ABOVE)
            said += [f"{what[0].upper()}{what[1:]}: {sentence}" for sentence in each]
    return bullets([*said, *_control_sentences(result)])


def _sentences(changes: Mapping[str, Mapping[str, Gain]], words: Mapping[str, str] = DIRECTIONS) -> list[str]:
    """Say what became of each score."""
    return [
        change_sentence(m, {name: row[m] for name, row in changes.items() if m in row}, words) for m in READ
    ]


def over_words(changes: Mapping[str, Mapping[str, Gain]]) -> str:
    """Say what changes were measured over: "10 clips"."""
    first = next(iter(next(iter(changes.values())).values()))
    return first.over or f"{first.n} clip{'s' * (first.n != 1)}"


def _changes(result: Result, what: str = AGAINST_BASE) -> dict[str, Mapping[str, Gain]]:
    """Pick one comparison, whatever else is compared: {"CFFM MiT-B1": changes by metric}.

    A key of the differences is a base model's method and backbone, and perhaps what is compared.
    """
    rows = set(zip(result.table["method"], result.table["backbone"]))
    return {
        " ".join(filter(None, key[:2])): row
        for key, row in result.differences.items()
        if (*key[2:], AGAINST_BASE)[0] == what and (f"{PREFIX}{key[0]}", key[1]) in rows
    }


def change_sentence(metric: str, changes: Mapping[str, Gain], words: Mapping[str, str] = DIRECTIONS) -> str:
    """Say of one score for which base models it rises or falls, by how much, and of which nothing can be said.

    Args: changes: {base model: change}.
    Returns: "**mIoU** rises for 2 of 3 base models, by 2.2 to 3.9 points (least: CFFM +2.2 [+1.0, +3.4]); it
        cannot be said for TV3S +1.0 [-0.3, +2.3]."
    """
    groups: dict[str, dict[str, Gain]] = {}
    for name, gain in changes.items():
        groups.setdefault(verdict(gain), {})[name] = gain
    parts = [
        f"{word} for {_how_many(groups[kind], changes)}, {_by(groups[kind])}"
        for kind, word in words.items()
        if kind in groups
    ]
    for kind, own in groups.items():
        each = ", ".join(f"{name} {shown(gain)}" for name, gain in own.items())
        if kind == "cannot be said":
            parts.append(f"{'it cannot be said' if parts else 'cannot be said to change'} for {each}")
        elif kind not in DIRECTIONS:
            parts.append(f"{'not judged, ' * bool(parts)}{each} points ({kind})")
    return f"**{NAMES.get(metric, metric)}** {'; '.join(parts)}." if parts else ""


def _how_many(some: Sequence, of: Sequence) -> str:
    if len(of) == 1:
        return next(iter(of))
    return f"all {len(of)} base models" if len(some) == len(of) else f"{len(some)} of {len(of)} base models"


def _by(changes: Mapping[str, Gain]) -> str:
    """Write the range of changes, and the smallest with its interval."""
    name, least = min(changes.items(), key=lambda item: abs(item[1].change))
    if len(changes) == 1:
        return f"by {shown(least)} points"
    sizes = [abs(rounded(gain.change)) for gain in changes.values()]
    return f"by {min(sizes):.1f} to {max(sizes):.1f} points (least: {name} {shown(least)})"


def _control_sentences(result: Result) -> list[str]:
    """Compare refined rows with those of every control that no difference is paired with; levels have no
    interval, and the sentence says so."""
    measured = result.table.dropna(subset="measured")
    levels = measured.set_index(["method", "backbone", "metric"])["measured"].to_dict()
    above: dict[str, dict[str, list[float]]] = {}
    for (method, backbone, metric), level in levels.items():
        for base, of in dict.fromkeys(key[:2] for key in result.differences):
            refined = levels.get((f"{PREFIX}{base}", backbone, metric))
            control = method.removesuffix(base)
            if backbone == of and refined is not None and control not in ("", method, PREFIX):
                above.setdefault(control, {}).setdefault(metric, []).append(refined - level)
    said, paired = [], {"".join(key[2].split()[2:]) for key in result.differences if len(key) > 2}
    for control, metrics in above.items():
        if control.rstrip("-").lower() in paired:
            continue  # said with intervals
        if control == REGIONS:
            more = _range([-value for value in metrics["mIoU"]])
            said.append(
                f"Perfect regions in the place of SAM 2's masklets (**TrueRegions**) would change mIoU by another {more} points: that is what perfect regions would give this vote, not a bound."
            )
            continue
        parts = ", ".join(
            f"{NAMES.get(m, m)} {_range(metrics[m])}" for m in (*READ, "mVC16_eq4") if m in metrics
        )
        said.append(
            f"SAM 2 beside **{control.rstrip('-')}**, which steadies over time without any mask, in points (levels, "
            f"no interval): {parts}."
        )
    if set(above) - {REGIONS}:
        said.append(
            "The script's mVC compares a prediction with itself, so any steadying raises it; Eq. 4 compares with the truth."
        )
    return said


def _range(values: Sequence[float]) -> str:
    """Write the range of changes: "+1.2 to +3.4"."""
    return " to ".join(dict.fromkeys(signed(value) for value in (min(values), max(values))))


def clip_findings(scores: pd.DataFrame) -> str:
    """Say what refinement changed on one clip.

    Args: scores: rows "base" and "refined", a column per metric, in percent, as `lib.study.compare` gives them.
    """
    change = scores.loc["refined"] - scores.loc["base"]
    each = ", ".join(f"{NAMES.get(m, m)} {signed(change[m])}" for m in READ if m in change)
    return bullets(
        [
            f"On this clip refinement changes, in points: {each}.",
            "One clip (n = 1) has no interval and says nothing of others: 01_refiner asks all of them.",
        ]
    )


def segmentor_findings(
    result: Result, extent: str = "", why_stopped: Callable[[str, str], str] = lambda *_: ""
) -> str:
    """Put what the paper says of Table 3 beside the paired differences and which way they go; what that makes of
    the paper's claims, the result's notes say.

    Args: result: as `segmentor_table` gives it; extent: on how much was measured; why_stopped: of
        `lib.study.profiles.Profile`; a base model that was stopped early on purpose judges nothing.
    """
    said = [f"Measured on {extent}; differences in points, paired over clips."] * bool(extent)
    for (claim, *difference), row in result.differences.items():
        stopped = stopped_early(why_stopped, claim, *difference)
        each = ", ".join(
            f"{m} {shown(row[m])}" + ("" if stopped else f" ({SIDES.get(judged := verdict(row[m]), judged)})")
            for m in ("mIoU", "mBIoU")
        )
        each += f"; not judged, because {stopped}" if stopped else ""
        name = " ".join(filter(None, difference))
        said.append(f"The paper: {CLAIMS[claim][0]}. Here, **{name}**: {each}.")
    return bullets(said if result.differences else ["Nothing was measured here."])


def ablation_findings(number: int, result: Result, extent: str = "") -> str:
    """Say how far the values of a setting lie apart, what refinement does at all, and what comes of the
    paper's claims.

    Args: number: of the table, 4 to 7; result: as `ablation_table` gives it; extent: on how much was measured.
    """
    if not result.differences:
        return bullets(["Nothing was measured here."])
    chosen = ablation_of(number)
    at_all = result.differences[chosen.default, "base"]
    over = over_words({chosen.default: at_all})
    said = [f"Measured on {extent or over}; intervals are over {over}."]
    rows = result.table[result.table["measured"].notna() & (result.table["setting"] != "base")]
    for metric in ("mIoU", "mBIoU", "mVC8", "mVC16"):
        levels = rows[rows["metric"] == metric]["measured"]
        if len(levels):
            said.append(
                f"**{metric}** lies between {rounded(levels.min()):.1f} and {rounded(levels.max()):.1f} at every value of the "
                f"{chosen.label.partition(',')[0]}; refining at all, at {chosen.default}, changes it by {shown(at_all[metric])} points."
            )
    claims = ablation_claims(number, result.differences)
    if len(reasons := {judged for *_, judged in claims}) == 1 and not reasons & {*JUDGED_AS}:
        said.append(f"The paper's claims on this setting: {reasons.pop()}.")
    else:
        said += [
            f"The paper: {claim}. Here: {measured}. This {judged}." for claim, measured, judged in claims
        ]
    return bullets(said)


def claims_findings(ledger: pd.DataFrame) -> str:
    """Say how many claims hold, and name those that do not or that cannot be judged.

    Args: ledger: the columns "claim", "metric" and "verdict", as `lib.claims.claims_table` puts it in front.
    """
    # without the reason why it was not run, or what was left out
    verdicts = ledger["verdict"].str.replace("[:;] .*", "", regex=True)
    said = [f"{(verdicts == 'holds').sum()} of {len(ledger)} claims, each about one metric, hold here."]
    for kind in dict.fromkeys([*JUDGED_AS, *verdicts]):
        rows = ledger[verdicts == kind]
        metrics = rows.groupby("claim", sort=False)["metric"].agg(", ".join)
        each = "; ".join(f"{claim} ({of})" for claim, of in metrics.items())
        said += [f"**{kind[0].upper()}{kind[1:]}** ({len(rows)}): {each}."] * bool(len(rows))
    return bullets(said)


def cost_findings(result: Result) -> str:
    """Say where the time goes in each sweep, and how near the prediction came.

    Args: result: as `lib.cost.cost_table` gives it.
    """
    table = result.table[result.table["measured"].notna()]
    said = []
    for sweep in ("objects", "window"):
        rows = table[table["setting"].str.startswith(f"{sweep} ")]
        if rows.empty:
            continue
        times = rows[rows["metric"].str.startswith("ms_")].pivot_table(
            index=["method", "setting"], columns="metric", values="measured", sort=False
        )
        for setting in times.loc["Measured"].index[-1:]:
            predicted = times.loc["Predicted", setting].dropna()  # the metrics are not
            measured = times.loc["Measured", setting][predicted.index]
            stage, share = measured.idxmax().removeprefix("ms_"), 100 * measured.max() / measured.sum()
            ratio = predicted.sum() / measured.sum()
            said.append(
                f"At {setting} a frame takes {measured.sum():.0f} ms, {share:.0f} % of it {stage}; predicted were {ratio:.2f} times that."
            )
    return bullets([*said, "One clip on one machine, timed once: there is no interval."])


def not_run(result: Result) -> str:
    """Say why rows were not run: one sentence if it is one reason, else a bullet each."""
    reasons: dict[str, list[str]] = {}
    for (method, backbone, _), why in result.not_run.items():
        base = method.removeprefix(PREFIX).removeprefix("I-").removesuffix("_base")
        name = " ".join(filter(None, (base, backbone)))
        reasons.setdefault(why.replace(f"has no {name}", "has no such model").rstrip("."), []).append(name)
    said = []
    for why, names in reasons.items():
        rows = "1 row was" if len(names) == 1 else f"{len(names)} rows were"
        which = f" ({names[0]})" if len(set(names)) == 1 else ""
        said.append(f"{rows} not run{which}: {why}.")
    return "Every row was run." if not said else said[0] if len(said) == 1 else bullets(said)


def small_print(result: Result) -> str:
    """Return a result's notes as bullets, but for the verdicts on the paper's claims, which findings say."""
    return bullets(note for note in result.notes if not note.startswith("The paper's claim"))


def paper_rows(result: Result) -> pd.DataFrame:
    """Lay out what the paper prints for rows that were not run, without the columns that are empty there."""
    printed = result.printed().drop(columns="note", errors="ignore")
    return printed.loc[:, (printed != "").any()]


def extent_of(study: Study | None) -> str:
    """Say how much there is to study; "" where there is no study."""
    return study.extent if study else ""


def cross_findings(result: Result, study: Study | None) -> str:
    """Say what refinement changed on the second data set, and what became of what is void there.

    Args: result: as `cross_table` gives it; study: as `open_cross` gives it.
    """
    void = [] if study is None else void_table(study).itertuples(index=False)
    holes = [
        f"Void in the predictions of {m} {b}: {base} before refinement, {refined} after."
        for m, b, base, refined in void
    ]
    return "\n".join([refiner_findings(result, extent_of(study)), *filter(None, [bullets(holes)])])


def cross_frames(study: Study | None) -> list[tuple[str, Clip, int, dict]]:
    """Choose a frame of the second data set for `lib.plots.gallery`: that of the first clip in which refinement
    changes most; nothing where there is no study or no base model that can be run."""
    if study is None:
        return []
    try:
        clip, t, columns = cross_example(study)
    except NotRun:
        return []
    return [(f"{clip.name}, frame {t}", clip, t, columns)]
