"""The record beside results, where several processes or a kill meet it."""

import json

import pytest

from lib.clips.errors import DataError
from lib.commands.records import Record, compare, recorded

pytestmark = pytest.mark.usefixtures("own_cache")


def record(path, common, clips, there=(), overwrite=False):
    return Record(
        path, common, {name: {"frames": name} for name in clips}, set(there).__contains__, overwrite
    )


def test_entries_of_other_processes_stay(tmp_path):
    """Both looked before either wrote."""
    path = tmp_path / "out" / "_refined.json"
    first, second = (record(path, {"window": 2}, [name]) for name in ("a", "b"))
    first.write("a", done=True)
    second.write("b", done=False)
    clips = json.loads(path.read_text())["clips"]
    assert {name: entry["done"] for name, entry in clips.items()} == {"a": True, "b": False}


def test_what_another_process_made_otherwise_meanwhile_is_neither_mixed_nor_kept(tmp_path):
    path = tmp_path / "_refined.json"
    late, replacing = (record(path, {"window": 4}, ["b"], overwrite=o) for o in (False, True))
    compare([late])
    record(path, {"window": 2}, ["a"]).write("a", done=True)
    with pytest.raises(DataError, match=r"another window \(2; now 4\)"):
        late.write("b", done=True)
    replacing.write("b", done=True)
    assert list(json.loads(path.read_text())["clips"]) == ["b"]


def test_results_that_are_gone_are_not_compared(tmp_path):
    path = tmp_path / "_refined.json"
    record(path, {"window": 2}, ["a"]).write("a", done=True)
    other = Record(path, {"window": 2}, {"a": {"frames": "changed"}}, lambda name: False)
    assert other.differences() == [] and not other.done("a")


def test_what_is_recorded_can_be_asked_for(tmp_path):
    path = tmp_path / "_refined.json"
    assert recorded(path, "checkpoint") == ""
    record(path, {"checkpoint": "tiny"}, ["a"]).write("a", done=True)
    assert recorded(path, "checkpoint") == "tiny"
    path.write_text("{")
    assert recorded(path, "checkpoint") == ""
