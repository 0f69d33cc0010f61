"""What all tables measure, as changes: the evidence for the ledger of claims."""

from collections.abc import Callable, Mapping, Sequence

from ..config import MaskletSettings
from ..study.study import NotRun, Study
from ..tables.ablation import ablation_of, ablation_table
from ..tables.cross import cross_table
from ..tables.paper import ABLATED, vipseg_name
from ..tables.refiner import refiner_rows, refiner_table
from ..tables.rows import Gain, contrast
from ..tables.segmentor import SegmentorSettings, fill_of, segmentor_table

# {(model, setting): {metric: change}}, named as in `lib.tables.paper.printed_changes`
Changes = Mapping[tuple[str, str], Mapping[str, Gain]]
BORDERS = "mBIoU - mIoU"


def measured_changes(
    study: Study, settings: MaskletSettings = MaskletSettings()
) -> tuple[dict[str, Changes], dict[str, str]]:
    """Collect what the other tables measure; what they counted is cached, so that this is quick after them.

    Returns:
        changes, not_run: as `judge` takes them.
    """
    readers: dict[tuple[str, ...], Callable] = {
        ("refiner",): lambda: _refiner(study, settings),
        ("cross",): lambda: _cross(study, settings),
        **{(part,): lambda number=number: _ablation(study, number) for number, part in ABLATED.items()},
        ("below", "fill", "encoder", "trained"): lambda: _segmentor(study, settings),
    }
    changes, not_run = (
        {},
        {"cost": "timings are not compared across machines; 08_cost measures the speed here"},
    )
    for parts, read in readers.items():
        try:
            found, reasons = read()
        except NotRun as reason:
            found, reasons = {}, [str(reason)]
        changes |= {part: found[part] for part in parts if found.get(part)}
        not_run |= {part: _first(reasons) for part in parts if not found.get(part)}
    return changes, not_run


def _first(reasons: Sequence[str]) -> str:
    """Name one reason, and how many others there are."""
    first, *others = dict.fromkeys(reasons)
    return first + (f", and {len(others)} more like this" if others else "")


def _refiner(study: Study, settings: MaskletSettings) -> tuple[dict[str, Changes], list[str]]:
    """Read Table 1, and compare what borders and regions gain."""
    _, not_run, differences = refiner_table(study, settings)
    found = {}
    for name, method, backbone in study.profile.models:
        if (method, backbone) in differences:
            rows = refiner_rows(study, name, settings)
            found[f"{method} {backbone}", ""] = {
                **differences[method, backbone],
                BORDERS: contrast(rows["refined"], rows["base"], "mBIoU", "mIoU"),
            }
    return {"refiner": found}, list(not_run.values())


def _cross(study: Study, settings: MaskletSettings) -> tuple[dict[str, Changes], list[str]]:
    """Read Table 2."""
    _, not_run, differences = cross_table(study, settings)
    return {"cross": {(vipseg_name(*key), ""): gains for key, gains in differences.items()}}, list(
        not_run.values()
    )


def _ablation(study: Study, number: int) -> tuple[dict[str, Changes], list[str]]:
    """Read one of Tables 4 to 7: what another value changes; for the window, what the longest does over
    the shortest."""
    table, not_run, differences = ablation_table(study, number)
    base = table[table["measured"].notna() & table["setting"].eq("base")]
    model = " ".join(filter(None, base.iloc[0][["method", "backbone"]])) if len(base) else ""
    default, shortest = ablation_of(number).default, str(ablation_of(number).values[0])
    against = {value: gains for (value, other), gains in differences.items() if other == "default"}
    if ABLATED[number] == "window" and against:
        found = {(model, f"{default} - {shortest}"): {m: -gain for m, gain in against[shortest].items()}}
    else:
        found = {(model, f"{value} - {default}"): gains for value, gains in against.items()}
    return {ABLATED[number]: found}, list(not_run.values())


def _segmentor(study: Study, settings: MaskletSettings) -> tuple[dict[str, Changes], list[str]]:
    """Read Table 3: its comparisons by claim, each under the name of the model that it is about."""
    chosen = SegmentorSettings(settings)
    _, not_run, differences = segmentor_table(study, chosen)
    found: dict[str, dict] = {}
    for (part, compared, backbone), gains in differences.items():
        after, before = compared.split(" minus ")
        about = after if part == "encoder" else before
        name = (
            f"{about} {backbone}" if backbone else f"{about} with {' '.join(fill_of(study, chosen.fill)[1:])}"
        )
        found.setdefault(part, {})[name, ""] = gains
    return found, list(not_run.values())
