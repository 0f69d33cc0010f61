"""The readings name code that exists, and say what its defaults are."""

import inspect
from importlib import import_module

import pytest

from lib.claims.readings import READINGS, readings
from lib.config import VoteSettings
from lib.isam2 import classify, paint_classes
from lib.metrics import count_clip, summarise


def find(dotted):
    """Import the longest part that is a module, and look the rest up in it."""
    parts = dotted.split(".")
    for n in range(len(parts), 1, -1):
        try:
            found = import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for name in parts[n:]:
            found = getattr(found, name)
        return found
    raise AttributeError(dotted)


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.item)
def test_code_is_there(reading):
    find(reading.code)


def default(function, name):
    return inspect.signature(function).parameters[name].default


def test_defaults_are_what_the_readings_say():
    by_item = {reading.item: reading for reading in READINGS}
    assert VoteSettings() == VoteSettings(overlap="area", scope="frame")
    assert (
        "larger masks are painted first" in by_item["overlapping masklets"].taken
        and "each frame" in by_item["scope of the vote"].taken
    )
    assert default(count_clip, "boundary_px") == 5 and "5 x 5" in by_item["boundary"].taken
    assert (
        default(count_clip, "pool") == "pixels"
        and "all classes of a frame together" in by_item["mBIoU"].taken
    )
    assert default(summarise, "protocol") == "both" and "always printed" in by_item["mVC"].offered
    assert default(paint_classes, "base") is None and default(classify, "scope") == "frame"


def test_the_table_is_text():
    table = readings()
    assert len(table) == len(READINGS) and table.map(lambda cell: isinstance(cell, str)).all(axis=None)
    assert table["item"].is_unique and not table.drop(columns="also offered").eq("").any(axis=None)
