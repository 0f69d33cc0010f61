"""What all tables measure, as changes: the evidence for the ledger of claims."""

from collections.abc import Callable, Mapping, Sequence

from ..study.study import NotRun, Study
from ..tables.ablation import ablation_table
from ..tables.ablation_scores import ablation_of
from ..tables.cross import cross_table
from ..tables.paper import ABLATED, vipseg_name
from ..tables.refiner import BEYOND, REFINED, STEADIED, refiner_rows, refiner_table
from ..tables.result import Gain
from ..tables.rows import contrast
from ..tables.segmentor import segmentor_table
from ..tables.segmentor_scores import fill_of

# {(model, setting): {metric: change}}, named as in `lib.tables.paper.printed_changes`
Changes = Mapping[tuple[str, str], Mapping[str, Gain]]
BORDERS = "mBIoU - mIoU"
# the setting of a change against a base model whose training was stopped early on purpose, in these parts: they
# are about a trained one
STOPPED_EARLY = "stopped early"
ABOUT_TRAINED = ("below", "encoder", "trained")


def measured_changes(study: Study) -> tuple[dict[str, Changes], dict[str, str]]:
    """Collect what the other tables measure; what they counted is cached, so that this is quick after them.

    Returns:
        changes, not_run: as `judge` takes them.
    """
    readers: dict[tuple[str, ...], Callable] = {
        ("refiner", "steadied", "beyond"): lambda: _refiner(study),
        ("cross",): lambda: _cross(study),
        **{(part,): lambda number=number: _ablation(study, number) for number, part in ABLATED.items()},
        ("below", "fill", "encoder", "trained"): lambda: _segmentor(study),
    }
    changes, not_run = (
        {},
        {"cost": "timings are not compared across machines; 08_cost measures the speed here"},
    )
    for parts, read in readers.items():
        try:
            measured, reasons = read()
        except NotRun as reason:
            measured, reasons = {}, [str(reason)]
        changes |= {part: measured[part] for part in parts if measured.get(part)}
        not_run |= {part: _first(reasons) for part in parts if not measured.get(part)}
    return changes, not_run


def _first(reasons: Sequence[str]) -> str:
    """Name one reason, and how many others there are."""
    first, *others = dict.fromkeys(reasons)
    return first + (f", and {len(others)} more like this" if others else "")


def _refiner(study: Study) -> tuple[dict[str, Changes], list[str]]:
    """Read Table 1, and compare what borders and regions gain."""
    result, changes = refiner_table(study), {}
    for name, method, backbone in study.profile.models:
        if (method, backbone, REFINED) in result.differences:
            rows = refiner_rows(study, name)
            changes[f"{method} {backbone}", ""] = {
                **result.differences[method, backbone, REFINED],
                BORDERS: contrast(rows["refined"], rows["base"], "mBIoU", "mIoU"),
            }
    sliding = {
        part: {
            (f"{m} {b}", ""): gains for (m, b, what), gains in result.differences.items() if what == compared
        }
        for part, compared in (("steadied", STEADIED), ("beyond", BEYOND))
    }
    return {"refiner": changes, **sliding}, list(result.not_run.values())


def _cross(study: Study) -> tuple[dict[str, Changes], list[str]]:
    """Read Table 2."""
    result = cross_table(study)
    changes = {
        (vipseg_name(*key), ""): gains
        for (*key, what), gains in result.differences.items()
        if what == REFINED
    }
    return {"cross": changes}, list(result.not_run.values())


def _ablation(study: Study, number: int) -> tuple[dict[str, Changes], list[str]]:
    """Read one of Tables 4 to 7: what another value changes; for the window, what the longest does over
    the shortest."""
    result = ablation_table(study, number)
    base = result.table[result.table["measured"].notna() & result.table["setting"].eq("base")]
    model = " ".join(filter(None, base.iloc[0][["method", "backbone"]])) if len(base) else ""
    default, shortest = ablation_of(number).default, str(ablation_of(number).values[0])
    against = {value: gains for (value, other), gains in result.differences.items() if other == "default"}
    changes = {(model, f"{value} - {default}"): gains for value, gains in against.items()}
    if ABLATED[number] == "window" and against:
        turned = {m: -gain for m, gain in against[shortest].items()}
        changes = {(model, f"{default} - {shortest}"): turned}
    return {ABLATED[number]: changes}, list(result.not_run.values())


def _segmentor(study: Study) -> tuple[dict[str, Changes], list[str]]:
    """Read Table 3: its comparisons by claim, each under the name of the model that it is about."""
    result, changes = segmentor_table(study), {}
    for (part, compared, backbone), gains in result.differences.items():
        after, before = compared.split(" minus ")
        about = after if part == "encoder" else before
        name = f"{about} {backbone}" if backbone else f"{about} with {' '.join(fill_of(study)[1:])}"
        stopped = part in ABOUT_TRAINED and study.profile.why_stopped(about.removeprefix("I-"), backbone)
        changes.setdefault(part, {})[name, STOPPED_EARLY if stopped else ""] = gains
    return changes, list(result.not_run.values())
