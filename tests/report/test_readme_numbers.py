"""README's numbers are those of the reports beside it."""

import pandas as pd
import pytest

from lib.clips.errors import DataError
from lib.paths import ROOT
from lib.report import COLUMNS, readme
from lib.report.text import as_csv

PAGE = (ROOT / "README.md").read_text()
REPORTS = ROOT / "reports" / "mini"


def test_the_table_is_what_the_reports_say():
    """If this fails: `python -m lib.report.readme` writes it anew."""
    assert readme.with_results(PAGE, readme.results_block(REPORTS)) == PAGE


def test_every_decimal_number_of_the_section_is_in_a_table():
    assert readme.SECTION in PAGE and readme.not_in_tables(PAGE, REPORTS) == []


@pytest.fixture
def reports(tmp_path):
    """Tables of one base model that was refined, one that was not run, and a control."""
    levels, changes = [], []
    for i, metric in enumerate(readme.SHOWN):
        levels += [
            ("CFFM", "MiT-N0", "", metric, 40 + i, 39.0, 41.0, None),
            ("SAM2-CFFM", "MiT-N0", "", metric, 42.35 + i, 39.0, 41.0, None),
            ("Majority-CFFM", "MiT-N0", "", metric, 11.1, 10.0, 12.0, None),
            ("SAM2-TV3S", "MiT-B1", "", metric, None, None, None, 41.1),
        ]
        changes.append(
            ("refined minus base", "CFFM MiT-N0", "", f"{metric} change", 2.25 + i, -0.04, 3.0, None)
        )
        changes.append(("another", "CFFM MiT-N0", "", f"{metric} change", 9.0, 8.0, 10.0, None))
    for name, lines in (("table1", levels), ("claims", changes)):
        (folder := tmp_path / "mini" / name).mkdir(parents=True)
        (folder / "table.csv").write_text(as_csv(pd.DataFrame(lines, columns=list(COLUMNS))))
    return tmp_path / "mini"


def test_block_by_hand(reports):
    assert readme.results_block(reports).splitlines() == [
        "| mini | mIoU | mBIoU | mVC8 | mVC16 |",
        "|---|---:|---:|---:|---:|",
        "| CFFM MiT-N0 | 40.0 | 41.0 | 42.0 | 43.0 |",
        "| refined, paired change | +2.2 [+0.0, +3.0] | +3.2 [+0.0, +3.0] | +4.2 [+0.0, +3.0] | +5.2 [+0.0, +3.0] |",
    ]


def test_main_rewrites_the_block_alone(reports, tmp_path, capsys):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    readme.main(["--readme", str(page), "--reports", str(reports)])
    first, *block, last = page.read_text().split("\n")[:-1]
    assert (first, last) == ("before", "after") and block[0] == readme.BEGIN and block[-1] == readme.END
    assert "\n".join(block[1:-1]) == readme.results_block(reports) and capsys.readouterr().out == ""


def test_a_number_that_no_table_says_is_named(reports):
    page = f"9.9\n{readme.SECTION}\n42.4, 11.1 and [2.2, 41.1]; 42.3; SAM 2.1; [7.7](a/6.6.md); `5.5` v1.2.3\n## Next\n8.8"
    assert readme.not_in_tables(page, reports) == ["42.3", "7.7"]


@pytest.mark.parametrize(
    "marks", ["", readme.BEGIN, readme.END + readme.BEGIN, 2 * (readme.BEGIN + readme.END)]
)
def test_marks_that_do_not_fit_are_one_clear_error(marks):
    with pytest.raises(DataError, match="README.md: expected .*results:begin.*Put them around"):
        readme.with_results(f"page {marks} end", "block")
