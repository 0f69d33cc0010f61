import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lib import report
from lib.clips.errors import DataMissingError
from lib.paths import ROOT
from lib.report import provenance
from lib.tables import Result

NAN = float("nan")
MICRO, REFINED = ("Segformer", "micro-B0", ""), ("SAM2-Segformer", "micro-B0", "")
PRINTED = [("CFFM", "MiT-B0", ""), ("CFFM", "MiT-B1", ""), ("TV3S", "MiT-B1", "")]
WHY = "no released weights at `weights/<name>.pth`"
NOT_RUN = {PRINTED[0]: WHY, PRINTED[1]: WHY, PRINTED[2]: "its code needs a GPU."}


@pytest.fixture
def table():
    lines = []
    for row, miou, miou_interval, vc in [
        (MICRO, 41.25, (39.84, 42.649), 88.0),
        (REFINED, 43.0, (NAN, NAN), -0.0000001),
    ]:
        lines += [(*row, "mVC8", vc, NAN, NAN, NAN), (*row, "mIoU", miou, *miou_interval, NAN)]
    for row, paper in zip(PRINTED, [(77.7, 66.6), (77.8, NAN), (77.9, 66.8)], strict=True):
        lines += [
            (*row, metric, NAN, NAN, NAN, value)
            for metric, value in zip(("mIoU", "mVC8"), paper, strict=True)
        ]
    return pd.DataFrame(lines, columns=report.COLUMNS)


@pytest.fixture
def figure():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    return figure


def save(out, table, figure=None, **changes):
    record = changes.pop("record", {"profile": "mini", "seconds": {"all": 1.5}})
    values = {"not_run": NOT_RUN, "make_notes": lambda: ["a note"], "make_record": lambda: record} | changes
    Result(values.pop("title", "Table 1 on mini"), table, **values).save(out, figure)


def test_wide_by_hand(table):
    lines = report.wide(table, NOT_RUN)
    assert list(lines.columns) == [
        "method",
        "backbone",
        "mIoU",
        "mIoU (paper)",
        "mVC8",
        "mVC8 (paper)",
        "note",
    ]
    assert lines.values.tolist() == [
        ["Segformer", "micro-B0", "41.2 [39.8, 42.6]", "", "88.0", "", ""],
        ["SAM2-Segformer", "micro-B0", "43.0", "", "0.0", "", ""],
        ["CFFM", "MiT-B0", "", "77.7", "", "66.6", f"not run: {WHY}"],
        ["CFFM", "MiT-B1", "", "77.8", "", "", f"not run: {WHY}"],
        ["TV3S", "MiT-B1", "", "77.9", "", "66.8", "not run: its code needs a GPU."],
    ]


def test_wide_settings_and_unprinted_metrics():
    rows = [
        ("SAM2-CFFM", "", setting, metric, 1.0, NAN, NAN, paper)
        for setting in ("1", "32")
        for metric, paper in (("mVC16_eq4", NAN), ("wIoU", 61.1), ("seconds", NAN))
    ]
    lines = report.wide(pd.DataFrame(rows, columns=report.COLUMNS), {})
    assert list(lines.columns) == [
        "method",
        "setting",
        "wIoU",
        "wIoU (paper)",
        "mVC16_eq4",
        "seconds",
        "note",
    ]
    assert lines["setting"].tolist() == ["1", "32"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.drop(columns="low"), "columns"),
        (lambda t: t.assign(setting=np.nan), "setting"),
        (lambda t: pd.concat([t, t[:1]]), "two for .*'Segformer', 'micro-B0', '', 'mVC8'"),
        (lambda t: t.assign(method="CFFM", metric=[f"m{i}" for i in range(len(t))]), "is none"),
        (lambda t: t.assign(measured=1.0), "holds a measurement"),
    ],
)
def test_tables_that_are_not_tidy(table, change, message):
    with pytest.raises(ValueError, match=message):
        report.wide(change(table), NOT_RUN)


def test_a_reason_is_needed(table):
    with pytest.raises(ValueError, match="say why"):
        report.wide(table, {PRINTED[0]: " "})


def sections(page):
    """Split a page at its headings of the second level."""
    return dict((part.partition("\n")[0], part) for part in re.split(r"^## ", page, flags=re.MULTILINE))


def test_markdown_by_hand(table):
    page = report.markdown(table, NOT_RUN, "Table 1 on mini", ["First note.", "A *second*\nnote."])
    assert (
        page
        == r"""# Table 1 on mini

| method | backbone | mIoU | mVC8 |
| --- | --- | ---: | ---: |
| Segformer | micro-B0 | 41.2 [39.8, 42.6] | 88.0 |
| SAM2-Segformer | micro-B0 | 43.0 | 0.0 |

In percent. In brackets the 95 % interval over clips.

## Printed in the paper, not run here

| method | backbone | mIoU | mVC8 |
| --- | --- | ---: | ---: |
| CFFM | MiT-B0 | 77.7 | 66.6 |
| CFFM | MiT-B1 | 77.8 |  |
| TV3S | MiT-B1 | 77.9 | 66.8 |

Why not:

- no released weights at `weights/<name>.pth`: CFFM (MiT-B0, MiT-B1).
- its code needs a GPU: TV3S (MiT-B1).

## Notes

- First note.
- A \*second\* note.
"""
    )


def test_tables_of_text_stand_before_the_numbers(table):
    front = {
        "Ledger": pd.DataFrame([("it *rises*", "-1.0 | no")], columns=["claim", "verdict"]),
        "Slips": pd.DataFrame(columns=["what"]),
    }
    page = report.markdown(table, NOT_RUN, "Claims on mini", ["A note."], front)
    plain = report.markdown(table, NOT_RUN, "Claims on mini", ["A note."])
    text = "## Ledger\n\n| claim | verdict |\n| --- | --- |\n| it \\*rises\\* | -1.0 \\| no |\n\n## Slips\n\nNone.\n\n## Numbers\n\n"
    assert text in page and page.replace(text, "") == plain


def test_equal_reasons_are_one_line():
    rows = [("CFFM", f"MiT-B{i}", "") for i in range(20)]
    table = pd.DataFrame(
        [(*row, "mIoU", NAN, NAN, NAN, 40.0 + i) for i, row in enumerate(rows)], columns=report.COLUMNS
    )
    page = report.markdown(table, dict.fromkeys(rows, "no weights"), "Table 1 on mini")
    assert page.count("no weights") == 1
    assert "Nothing was measured here." in page
    (line,) = [line for line in page.splitlines() if "no weights" in line]
    assert all(re.search(rf"\b{row[1]}\b", line) for row in rows)


def test_paper_number_never_in_a_measured_place(tmp_path, table):
    for paper in ("77.7", "77.8", "77.9", "66.6", "66.8"):
        lines = report.wide(table, NOT_RUN)
        assert [name for name in lines if lines[name].str.contains(paper).any()] in (
            ["mIoU (paper)"],
            ["mVC8 (paper)"],
        )
        parts = sections(report.markdown(table, NOT_RUN, "Table 1 on mini"))
        assert [name for name, part in parts.items() if paper in part] == [
            "Printed in the paper, not run here"
        ]
    save(tmp_path, table)
    saved = report.read_table(tmp_path / "table.csv")
    assert saved.loc[saved["paper"].notna(), ["measured", "low", "high"]].isna().all(axis=None)


def test_measured_row_has_the_paper_beside_it():
    table = pd.DataFrame([("CFFM", "MiT-B0", "", "mIoU", 35.0, 34.0, 36.0, 35.4)], columns=report.COLUMNS)
    page = report.markdown(table, {}, "Table 1 on vspw")
    assert (
        "| CFFM | MiT-B0 | 35.0 [34.0, 36.0] | 35.4 |" in page
        and "| mIoU (paper) |" in page
        and "not run" not in page
    )


def test_row_without_paper_number_is_named_all_the_same():
    table = pd.DataFrame([("control", "", "", "mIoU", NAN, NAN, NAN, NAN)], columns=report.COLUMNS)
    page = report.markdown(table, {("control", "", ""): "no truth"}, "Table 1 on mini")
    assert "- no truth: control." in page and "## Not run here" in page and "|" not in page


def test_labels_survive_markdown():
    table = pd.DataFrame([("I-<base>", "a|b", "", "mIoU", 1.0, NAN, NAN, NAN)], columns=report.COLUMNS)
    assert r"| I-\<base> | a\|b | 1.0 |" in report.markdown(table, {}, "T")


def test_save_writes_all(tmp_path, table, figure):
    save(tmp_path / "new" / "table1", table, figure)
    assert sorted(os.listdir(tmp_path / "new" / "table1")) == [
        "figure.png",
        "run.json",
        "table.csv",
        "table.md",
    ]
    csv = (tmp_path / "new" / "table1" / "table.csv").read_bytes()
    assert csv.split(b"\n")[:4] == [
        b"method,backbone,setting,metric,measured,low,high,paper",
        b"Segformer,micro-B0,,mIoU,41.250,39.840,42.649,",
        b"Segformer,micro-B0,,mVC8,88.000,,,",
        b"SAM2-Segformer,micro-B0,,mIoU,43.000,,,",
    ]
    assert csv.endswith(b"\n") and b"\r" not in csv and b"-0.0" not in csv
    record = json.loads((tmp_path / "new" / "table1" / "run.json").read_text())
    assert record["title"] == "Table 1 on mini" and record["profile"] == "mini"
    assert record["not_run"][2] == {
        "method": "TV3S",
        "backbone": "MiT-B1",
        "setting": "",
        "why": "its code needs a GPU.",
    }


def test_equal_tables_give_equal_bytes(tmp_path, table, figure):
    # metrics in another order
    by_row = [part[::-1] for _, part in table.groupby(["method", "backbone"], sort=False)]
    for name, some in [("a", table), ("b", table.copy()), ("c", pd.concat(by_row))]:
        save(tmp_path / name, some, figure)
    for file in ("table.csv", "table.md", "figure.png"):
        assert len({(tmp_path / name / file).read_bytes() for name in "abc"}) == 1, file


def test_read_table_round_trip(tmp_path, table):
    save(tmp_path, table.assign(setting="1"), not_run={})
    back = report.read_table(tmp_path / "table.csv")
    assert set(back["setting"]) == {"1"} and tuple(back.columns) == report.COLUMNS
    keys = list(report.COLUMNS[:4])
    pd.testing.assert_frame_equal(
        back.sort_values(keys, ignore_index=True),
        table.assign(setting="1").sort_values(keys, ignore_index=True),
        atol=5e-4,
    )
    save(tmp_path / "again", back, not_run={})
    assert (tmp_path / "again" / "table.csv").read_bytes() == (tmp_path / "table.csv").read_bytes()


def test_a_result_parts_what_was_run_from_what_was_not(table):
    undefined = table["method"].eq("SAM2-Segformer") & table["metric"].eq("mVC8")
    table.loc[undefined, "measured"] = NAN  # a row that was run, though one metric of it is undefined
    result = Result("Table 1 on mini", table, NOT_RUN, {("A", "b"): {"mIoU": (1.0, 0.5, 1.5, 10, "clips")}})
    assert result.measured()["method"].tolist() == ["Segformer", "SAM2-Segformer"]
    assert result.printed()["method"].tolist() == ["CFFM", "CFFM", "TV3S"] and "note" in result.printed()
    assert result.printed()["note"].str.startswith("not run: ").all()
    assert result.wide().equals(report.wide(table, NOT_RUN))
    assert result.gains().values.tolist() == [["A", "b", "+1.0 [+0.5, +1.5]", "10 clips"]]


def test_notes_are_made_once_and_the_record_as_late_as_possible(table):
    calls, seconds = [], {}
    result = Result(
        "T", table, make_notes=lambda: calls.append(1) or ["first"], make_record=lambda: {"seconds": seconds}
    )
    more = result.with_more(["last"], {"Front": table})
    assert calls == []
    assert more.notes == more.notes == ("first", "last") and result.notes == ("first",) and calls == [1]
    assert list(more.front) == ["Front"] and not result.front
    seconds["later"] = 1.0
    assert more.record == {"seconds": {"later": 1.0}}


def test_empty_out_writes_nothing(tmp_path, table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("", table)
    assert os.listdir(tmp_path) == []


class _Broken(Figure):
    def savefig(self, *args, **kwargs):
        raise OSError("no space left")


@pytest.mark.parametrize("fault", ["figure", "json", "disk"])
def test_failed_save_leaves_the_old_files(tmp_path, table, figure, monkeypatch, fault):
    save(tmp_path, table, figure)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    changed = table.assign(measured=table["measured"] + 1)
    if fault == "disk":
        written = []

        def fail_on_the_third(path, data, write=Path.write_bytes):
            written.append(path)
            if len(written) == 3:
                raise OSError("no space left")
            return write(path, data)

        monkeypatch.setattr(Path, "write_bytes", fail_on_the_third)
    with pytest.raises((OSError, ValueError)):
        save(
            tmp_path,
            changed,
            _Broken() if fault == "figure" else figure,
            record={"x": NAN if fault == "json" else 1},
        )
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_no_figure_leaves_no_old_one(tmp_path, table, figure):
    save(tmp_path, table, figure)
    save(tmp_path, table, None)
    assert not (tmp_path / "figure.png").exists()


def test_provenance(tmp_path):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "b.png").write_bytes(b"b")
    (tmp_path / "clip" / "a.png").write_bytes(b"a")
    files = [ROOT / "data" / "paper" / "table1.csv", tmp_path / "clip"]
    record = provenance.provenance("mini", {"window": 32}, files, {"track": 1.23456})
    assert json.loads(json.dumps(record)) == record
    assert record["inputs"]["data/paper/table1.csv"] == hashlib.sha256(files[0].read_bytes()).hexdigest()
    lines = "".join(f"{hashlib.sha256(text).hexdigest()}  {text.decode()}.png\n" for text in (b"a", b"b"))
    assert record["inputs"][str(tmp_path / "clip")] == hashlib.sha256(lines.encode()).hexdigest()
    assert record["versions"]["numpy"] == np.__version__ and record["device"] and record["cpu_count"] >= 1
    assert (
        record["parameters"] == {"window": 32}
        and record["seconds"] == {"track": 1.235}
        and record["date"].endswith("+00:00")
    )
    with pytest.raises(DataMissingError, match="absent.png"):
        provenance.provenance("mini", {}, [tmp_path / "absent.png"], {})


def test_provenance_of_a_checkout_and_without(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.provenance("mini", {}, [], {})["commit"] is None
    for arguments in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        if provenance._git(*arguments) is None:
            pytest.skip("git is not installed")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "table.md").write_text("written by a run, so no change of the code")
    record = provenance.provenance("mini", {}, [], {})
    assert re.fullmatch(r"[0-9a-f]{40}", record["commit"]) and record["dirty"] is False
    (tmp_path / "code.py").write_text("")
    assert provenance.provenance("mini", {}, [], {})["dirty"] is True
    (tmp_path / "unpacked").mkdir()
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "unpacked")  # inside a repository that is not ours
    assert provenance.provenance("mini", {}, [], {})["commit"] is None


def test_profile_readme(tmp_path, table, figure):
    mini = tmp_path / "mini"
    for name in ("table2", "claims", "table1"):
        save(mini / name, table, figure if name != "claims" else None, title=f"About {name} on mini")
    (mini / "quickstart").mkdir()
    (mini / "quickstart" / "notebook.ipynb").write_text("{}")
    (mini / "table2" / "failed.ipynb").write_text("{}")
    (mini / ".table3.1.part").mkdir()
    (mini / "empty").mkdir()
    report.profile_readme(mini)
    page = (mini / "README.md").read_text()
    assert page.startswith("# Results on the profile mini\n")
    assert re.findall(r"^## (.*)", page, re.MULTILINE) == [
        "quickstart",
        *(f"About {name} on mini" for name in ("table1", "table2", "claims")),
    ]
    assert page.count("| Segformer | micro-B0 | 41.2 [39.8, 42.6] | 88.0 |") == 3
    for name in ("table1", "table2"):
        assert f"![About {name} on mini]({name}/figure.png)" in page
    assert "claims/figure.png" not in page and "part" not in page and "empty" not in page
    assert (
        page.count("The latest run failed") == 1 and "failed.ipynb" in sections(page)["About table2 on mini"]
    )
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (mini / link).exists(), link
    with pytest.raises(DataMissingError, match="nowhere"):
        report.profile_readme(tmp_path / "nowhere")


def test_a_table_says_what_its_intervals_are_over(tmp_path, table):
    known = table["low"].notna()
    for over, said in [
        ("10 clips", "In brackets the 95 % interval over 10 clips."),
        (
            "4 blocks within this sequence",
            "In brackets the 95 % interval over 4 blocks within this sequence.",
        ),
    ]:
        save(tmp_path, table.assign(over=np.where(known, over, "")), not_run={})
        assert said in (tmp_path / "table.md").read_text()
        back = report.read_table(tmp_path / "table.csv")
        assert tuple(back.columns) == report.COLUMNS, "the columns of table.csv are an interface"
    with pytest.raises(ValueError, match="`over` of `table` to hold text"):
        report.wide(table.assign(over=np.nan), {})


def test_gains_are_signed_and_named_by_their_keys():
    nan = float("nan")
    by_model = report.gains(
        {("CFFM", "MiT-B1"): {"mIoU": (1.25, 0.4, 2.0, 10, "clips"), "mVC8": (-0.04, nan, nan, 10, "clips")}}
    )
    assert by_model.to_dict("records") == [
        {
            "method": "CFFM",
            "backbone": "MiT-B1",
            "mIoU": "+1.2 [+0.4, +2.0]",
            "mVC8": "+0.0",
            "over": "10 clips",
        }
    ]
    by_value = report.gains({("8", "default"): {"mIoU": (-1.0, -2.0, 0.0, 4, "blocks")}}, ("value", "minus"))
    (line,) = by_value.to_dict("records")
    assert line == {
        "value": "8",
        "minus": "default",
        "mIoU": "-1.0 [-2.0, +0.0]",
        "over": "4 blocks within this sequence",
    }
    with pytest.raises(ValueError):
        report.gains({("8", "default"): {}}, ("value",))
