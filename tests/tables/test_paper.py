"""The quoted tables against values read from the paper by hand, and against what any such table must
satisfy."""

import math

import pytest

from lib.tables.paper import TABLES, default_setting, printed_changes, read_paper, read_paper_table

FULL = ["method", "backbone", "mIoU", "wIoU", "mBIoU", "mVC8", "mVC16"]
ABLATION = ["setting", "mIoU", "wIoU", "mVC8", "mVC16"]
HEADERS = {
    1: FULL,
    2: ["method", "mIoU", "mBIoU", "mVC8", "mVC16"],
    3: FULL,
    4: ABLATION,
    5: ABLATION,
    6: ABLATION,
    7: ABLATION,
}
ROWS = {1: 26, 2: 8, 3: 11, 4: 7, 5: 4, 6: 6, 7: 6}
# Table 1: mBIoU of four Segformer rows, wIoU of three TV3S rows
DASHES = {1: 7, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0}

# Table, label, metrics in the order of the columns: first, last and some middle rows.
PRINTED = [
    (1, ("Segformer", "MiT-B0"), (32.9, 56.8, None, 82.7, 77.3)),
    (1, ("CFFM", "MiT-B0"), (35.4, 58.5, 21.8, 87.7, 82.9)),
    (1, ("TV3S", "MiT-B1"), (40.0, None, 25.6, 90.7, 87.0)),
    (1, ("SAM2-CFFM", "MiT-B1"), (40.3, 61.1, 29.3, 89.4, 85.1)),
    (1, ("SAM2-MRCFA", "MiT-B2"), (46.9, 65.7, 33.8, 91.0, 87.1)),
    (1, ("SAM2-TV3S", "MiT-B5"), (51.3, 67.1, 38.1, 92.2, 89.3)),
    (2, ("CAVIS (R50)",), (50.4, 55.3, 86.2, 79.4)),
    (2, ("DVIS (Swin-L)",), (55.2, 57.2, 89.5, 84.2)),
    (2, ("DVIS (Swin-L, offline)",), (57.0, 60.9, 91.4, 87.7)),
    (2, ("SAM2-DVIS",), (55.0, 59.1, 89.8, 84.6)),
    (2, ("SAM2-DVIS (offline)",), (57.2, 62.3, 91.8, 88.3)),
    (3, ("CFFM", "MiT-B0"), (35.4, 58.5, 21.5, 87.7, 82.9)),
    (3, ("I-CFFM_base", "MiT-B2"), (42.3, 63.2, 28.1, 79.1, 73.0)),
    (3, ("I-SAM2", ""), (18.03, 36.5, 13.3, 52.8, 43.7)),
    (3, ("I-SAM2_base", ""), (20.9, 41.8, 15.7, 55.5, 46.6)),
    (4, ("1",), (40.3, 61.1, 88.2, 83.9)),
    (4, ("10",), (40.3, 61.0, 89.1, 84.7)),
    (4, ("32",), (40.4, 61.1, 89.4, 85.1)),
    (5, ("8",), (39.9, 61.0, 89.3, 85.1)),
    (5, ("64",), (40.2, 61.0, 89.2, 84.9)),
    (6, ("0.4",), (40.1, 61.1, 89.3, 84.9)),
    (6, ("0.9",), (39.8, 60.8, 89.3, 85.1)),
    (7, ("0.4",), (40.5, 61.2, 89.3, 85.0)),
    (7, ("0.9",), (40.0, 60.9, 89.3, 85.0)),
]


def split(table):
    labels = [column for column in ("method", "backbone", "setting") if column in table]
    return table[labels], table.drop(columns=labels)


@pytest.mark.parametrize("number", TABLES)
def test_each_table_has_the_printed_shape(number):
    table = read_paper_table(number)
    labels, metrics = split(table)
    assert list(table.columns) == HEADERS[number]
    assert len(table) == ROWS[number]
    assert not labels.duplicated().any()
    assert metrics.isna().sum().sum() == DASHES[number]
    assert (metrics.isna() | ((metrics > 0) & (metrics < 100))).all(axis=None)


@pytest.mark.parametrize("number", TABLES)
def test_metrics_are_ordered_as_their_definitions_require(number):
    table = read_paper_table(number)
    assert (table.mVC8 > table.mVC16).all()  # a window of 16 agreeing frames holds windows of 8
    if "wIoU" in table:
        # so in every row of the paper: catches swapped columns
        assert (table.wIoU.dropna() > table.mIoU[table.wIoU.notna()]).all()


@pytest.mark.parametrize("number, label, printed", PRINTED)
def test_values_are_those_of_the_paper(number, label, printed):
    labels, metrics = split(read_paper_table(number))
    row = metrics[(labels == list(label)).all(axis=1)]
    assert len(row) == 1
    assert row.iloc[0].tolist() == pytest.approx(
        [math.nan if value is None else value for value in printed], nan_ok=True
    )


# Sums of the printed columns, added up from the paper's text: any single wrong digit shows.
SUMS = {
    1: [1126.0, 1442.9, 657.8, 2326.6, 2222.3],
    2: [425.0, 464.1, 707.5, 663.9],
    3: [365.33, 593.8, 245.1, 804.3, 727.2],
    4: [282.3, 427.5, 621.8, 591.3],
    5: [160.8, 244.2, 357.2, 340.1],
    6: [241.0, 366.2, 536.2, 510.4],
    7: [242.2, 366.7, 535.9, 510.1],
}


@pytest.mark.parametrize("number", TABLES)
def test_columns_add_up(number):
    _, metrics = split(read_paper_table(number))
    assert metrics.sum().tolist() == pytest.approx(SUMS[number], abs=0.001)


def test_dashes_are_where_the_paper_prints_them():
    table = read_paper_table(1)
    assert set(table.method[table.mBIoU.isna()]) == {"Segformer"}
    assert set(table.method[table.wIoU.isna()]) == {"TV3S"}
    assert read_paper_table(3).backbone.eq("").sum() == 2


@pytest.mark.parametrize("number", [0, 8, "1"])
def test_an_unknown_table_is_refused(number):
    with pytest.raises(ValueError, match="1 to 7"):
        read_paper_table(number)


def test_printed_changes_by_hand():
    changes = printed_changes(read_paper())
    assert {part: len(rows) for part, rows in changes.items()} == {
        "refiner": 11,
        "cross": 4,
        "below": 3,
        "fill": 4,
        "encoder": 3,
        "trained": 3,
        "window": 1,
        "grid": 3,
        "iou": 5,
        "stability": 5,
    }
    assert changes["refiner"]["CFFM MiT-B1", ""] == {
        "mIoU": 1.8,
        "wIoU": 1.1,
        "mBIoU": 4.6,
        "mVC8": 0.8,
        "mVC16": 1.0,
        "mBIoU - mIoU": 2.8,
    }
    assert "wIoU" not in changes["refiner"]["TV3S MiT-B2", ""]  # a dash
    assert changes["cross"]["DVIS (Swin-L, offline)", ""] == {
        "mIoU": 0.2,
        "mBIoU": 1.4,
        "mVC8": 0.4,
        "mVC16": 0.6,
        "mBIoU - mIoU": 1.2,
    }
    assert changes["window"]["CFFM MiT-B1", "32 - 1"] == {"mIoU": 0.1, "wIoU": 0.0, "mVC8": 1.2, "mVC16": 1.2}
    assert changes["grid"]["CFFM MiT-B1", "8 - 16"]["mIoU"] == -0.5
    assert (
        changes["iou"]["CFFM MiT-B1", "0.9 - 0.6"]["mIoU"] == -0.6
        and changes["stability"]["CFFM MiT-B1", "0.4 - 0.8"]["mIoU"] == 0.1
    )
    assert (
        changes["below"]["CFFM MiT-B1", ""]["mIoU"] == -20.47
        and changes["fill"]["I-SAM2 with CFFM MiT-B1", ""]["mIoU"] == 2.87
    )
    assert (
        changes["fill"]["I-CFFM MiT-B2", ""]["mVC16"] == 10.3
        and changes["encoder"]["I-CFFM MiT-B0", ""]["mBIoU"] == 7.8
    )
    assert changes["trained"]["CFFM MiT-B0", ""]["mIoU"] == -5.5


def test_default_settings_are_printed_rows():
    assert [default_setting(number) for number in (4, 5, 6, 7)] == ["32", "16", "0.6", "0.8"]
    assert all(default_setting(number) in set(read_paper_table(number).setting) for number in (4, 5, 6, 7))
