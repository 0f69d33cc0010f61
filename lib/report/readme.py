"""README's table of results, written from the tables of the reports so that it cannot say anything else.

python -m lib.report.readme                # rewrites the block between the two marks of README.md
"""

import argparse
import json
import re
from pathlib import Path

from ..clips.errors import DataError, problem
from ..files import replacing
from ..paths import EMBEDDED, REPORTS, ROOT
from ..text import DECIMALS, rounded, shown
from .text import read_table

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
SHOWN = ("mIoU", "mBIoU", "mVC8", "mVC16")
SECTION = "## Where results stand"


def results_block(reports: Path) -> str:
    """Return the table of base models and what refinement changes, one pair of lines for each base model.

    Args: reports: folder of a profile's reports: levels are read from its table1/table.csv, paired changes from
        its claims/table.csv.
    Raises: KeyError: a base model of Table 1 without a change among the claims.
    """
    levels, claims = (read_table(Path(reports, name, "table.csv")) for name in ("table1", "claims"))
    changes = claims[claims["method"] == "refined minus base"]
    refined = levels[levels["measured"].notna() & levels["method"].str.startswith("SAM2-")]
    profile = Path(reports).name
    lines = [f"| {profile} | {' | '.join(SHOWN)} |", "|---" + "|---:" * len(SHOWN) + "|"]
    for method, backbone in refined[["method", "backbone"]].drop_duplicates().itertuples(index=False):
        base = f"{method.removeprefix('SAM2-')} {backbone}"
        level = levels[(levels["method"] + " " + levels["backbone"]) == base].set_index("metric")["measured"]
        change = changes[changes["backbone"] == base].set_index("metric")[["measured", "low", "high"]]
        lines.append(f"| {base} | {' | '.join(f'{rounded(level[m]):.1f}' for m in SHOWN)} |")
        cells = [shown(tuple(change.loc[f"{m} change"])) for m in SHOWN]
        lines.append(f"| refined, paired change | {' | '.join(cells)} |")
    return "\n".join(lines)


def with_results(page: str, block: str) -> str:
    """Return the page with the block between its two marks.

    Raises: DataError: the page has not each mark once, in their order.
    """
    if (page.count(BEGIN), page.count(END)) != (1, 1) or page.index(BEGIN) > page.index(END):
        raise problem(
            DataError,
            "README.md",
            expected=f"the lines {BEGIN} and {END}, once each, in this order",
            found="others",
            remedy="Put them around the table of results.",
        )
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def not_in_tables(page: str, reports: Path) -> list[str]:
    """List the decimal numbers of the page's section on results that no table says: neither a cell of a
    table.csv of the reports, rounded as there, nor a figure of the micro SAM 2's quality, also in percent.

    Whole numbers are not looked at, nor links and names such as "SAM 2.1" and "Eq. 2.1".
    """
    section = page.partition(SECTION)[2].partition("\n## ")[0]
    text = re.sub(r"\]\([^)]*\)|`[^`]*`|SAM 2\.\d|(?:Eq|Sec)\. [\d.]+", " ", section)
    known = _figures(reports)
    return [number for number in re.findall(r"(?<![\d.])\d+\.\d+(?![\d.])", text) if number not in known]


def _figures(reports: Path) -> set[str]:
    """All numbers that reports print, without their sign: cells with one to three decimals, quality figures
    as they are and in percent."""
    known = set()
    for path in Path(reports).glob("*/table.csv"):
        cells = read_table(path)[["measured", "low", "high", "paper"]].stack().abs()
        known |= {f"{rounded(value):.1f}" for value in cells}
        known |= {f"{value:.{digits}f}" for value in cells for digits in range(2, DECIMALS + 1)}
    quality = json.loads((EMBEDDED / "mini" / "weights" / "micro_sam2.json").read_text())
    for value in (value for value in quality.values() if isinstance(value, (int, float))):
        known |= {f"{scale * value:.{digits}f}" for scale in (1, 100) for digits in range(1, 4)}
    return known


def main(arguments=None) -> None:
    """Rewrite the block of README.md."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--reports", type=Path, default=REPORTS / "mini")
    options = parser.parse_args(arguments)
    page = options.readme.read_text()
    with replacing(options.readme) as part:
        part.write_text(with_results(page, results_block(options.reports)))
    for number in not_in_tables(page, options.reports):
        print(f"{options.readme}: {number} under '{SECTION[3:]}' is in no table")


if __name__ == "__main__":
    main()
