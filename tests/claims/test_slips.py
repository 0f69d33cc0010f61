"""What the paper's numbers contradict: the known cases are found, and nothing is once they are repaired."""

import pytest

from lib.claims import statements as found_by
from lib.claims.slips import inconsistencies
from lib.claims.statements import Statement, statements
from lib.tables.paper import read_paper


def repaired():
    """The paper as it would have to be printed for its numbers and words to agree."""
    tables = read_paper()
    one, three = tables[1].set_index(["method", "backbone"]), tables[3].set_index(["method", "backbone"])
    one.loc[("SAM2-CFFM", "MiT-B1"), "mIoU"] = 40.4
    three.loc[("CFFM", "MiT-B0"), "mBIoU"] = 21.8
    three.loc[("I-SAM2", ""), "mIoU"] = 18.0
    for backbone in ("MiT-B0", "MiT-B1", "MiT-B2"):
        for method in ("I-CFFM", "I-CFFM_base"):
            three.loc[(method, backbone), "mIoU"] = round(three.loc[("CFFM", backbone), "mIoU"] - 11, 1)
    return {**tables, 1: one.reset_index(), 3: three.reset_index()}


@pytest.fixture
def one_data_set(monkeypatch):
    monkeypatch.setattr(found_by, "CAPTIONED", {1: "VSPW", 2: "VSPW"})


def test_the_known_ones_are_found():
    lines = inconsistencies(read_paper())
    assert lines[["what", "values", "difference"]].values.tolist()[:3] == [
        ["mBIoU of CFFM MiT-B0", "21.8 (Table 1), 21.5 (Table 3)", 0.3],
        ["mIoU of SAM2-CFFM MiT-B1", "40.3 (Table 1), 40.4 (Tables 4, 5, 6, 7)", 0.1],
        ["mIoU of I-SAM2 has more than one decimal", "18.03", 0.03],
    ]
    said = lines[3:].set_index("where")
    assert list(said["what"].str[:20]) == ['"All experiments wer'] + ['"a drop of at least '] * 3
    in_points = said.loc["Sec. 4.2: Table 3: mIoU drop from CFFM to I-CFFM, in points, is 10 or more"]
    assert in_points["values"] == "5.5, 8.2, 7.4" and in_points["difference"] == 4.5


def test_one_reading_of_ten_percent_agrees():
    lines = statements(read_paper())
    drop = lines[lines["says"].str.contains("at least 10%")].set_index("meaning")["agrees"]
    assert (
        drop["Table 3: mIoU drop from CFFM to I-CFFM, in percent of CFFM, is 10 or more"] == "yes"
        and (drop == "yes").sum() == 1
    )
    assert {"Abstract", "4", "4.1", "4.1.1", "4.1.2", "4.2", "6"} == set(lines["section"])


def test_nothing_is_found_where_all_agrees(one_data_set):
    assert inconsistencies(repaired()).empty
    assert (statements(repaired())["agrees"] == "yes").all()


@pytest.mark.parametrize(
    "number, row, metric, value, what",
    [
        (
            1,
            ("SAM2-TV3S", "MiT-B5"),
            "mVC8",
            91.7,
            "enhancing the overall performance|consistent improvement in visual consistency across",
        ),
        (1, ("CFFM", "MiT-B2"), "wIoU", 60.0, "wIoU of CFFM MiT-B2"),
        (1, ("SAM2-CFFM", "MiT-B0"), "mIoU", 40.0, "primarily due to"),
        (
            2,
            ("SAM2-DVIS",),
            "mBIoU",
            57.2,
            "boundary accuracy|consistent improvements in mBIoU|primarily due to",
        ),
        (2, ("SAM2-CAVIS",), "mVC8", 85.0, "competitive"),
        (3, ("I-SAM2_base", ""), "mBIoU", 22.0, "worst performance"),
        (3, ("I-CFFM", "MiT-B0"), "mVC16", 82.9, "drastic decline"),
        (4, ("1",), "mIoU", 39.1, "negligible impact"),
        (4, ("8",), "mVC8", 88.6, "a consistent improvement"),
        (5, ("64",), "wIoU", 59.9, "minimal differences"),
        (6, ("0.5",), "mIoU", 40.5, None),  # it loses in mVC: a balance all the same
        (7, ("0.7",), "mVC8", 89.6, None),
        (7, ("0.6",), "mVC8", 89.4, None),
        (6, ("0.6",), "wIoU", 61.2, "wIoU of SAM2-CFFM MiT-B1"),
    ],
)
def test_each_slip_is_found(one_data_set, number, row, metric, value, what):
    tables = repaired()
    labels = [name for name in ("method", "backbone", "setting") if name in tables[number]]
    at = (tables[number][labels] == list(row)).all(axis=1)
    assert at.sum() == 1
    tables[number].loc[at, metric] = value
    lines = inconsistencies(tables)["what"]
    assert lines.empty if what is None else len(lines) and lines.str.contains(what).all(), lines.tolist()


def test_a_threshold_better_in_all_is_found(one_data_set):
    tables = repaired()
    tables[7].loc[tables[7]["setting"] == "0.6", ["mIoU", "wIoU", "mVC8", "mVC16"]] = [40.4, 61.2, 89.4, 85.1]
    assert inconsistencies(tables)["what"].str.contains("optimal balance").tolist() == [True]


def test_a_default_row_is_needed():
    tables = read_paper()
    with pytest.raises(ValueError, match="Expected Table 5 to have a row 16"):
        inconsistencies({**tables, 5: tables[5][tables[5]["setting"] != "16"]})


def test_a_statement_needs_numbers():
    with pytest.raises(ValueError, match="got none"):
        Statement("4", "words", "meaning", ())
    assert Statement("4", "words", "meaning", (1.0, 3.0), least=1.5, most=2).miss == 1.0
