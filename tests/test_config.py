"""Settings refuse what would otherwise be a silent default or a late failure."""

from dataclasses import FrozenInstanceError, asdict

import pytest

from lib.config import MaskletSettings, Shortcuts, VoteSettings, from_dict
from lib.study.profiles import PROFILES, Profile

NAN = float("nan")


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (MaskletSettings, {name: value})
        for name, refused in {
            "window": (0, -1, 1.5, "32", None, True),
            "grid": (0, 16.0, True),
            "iou": (-0.1, 1.1, NAN, "0.6", None, True),
            "stability": (-0.1, 1.1, NAN),
            "stability_offset": (-1, NAN, "0"),
            "nms": (2, NAN, None),
            "clean_px": (-1, 0.5, None, True),
        }.items()
        for value in refused
    ]
    + [(Shortcuts, {"input_px": 100}), (Shortcuts, {"memories": -1}), (Shortcuts, {"every": 0})]
    + [
        (VoteSettings, {"overlap": "iou"}),
        (VoteSettings, {"overlap": None}),
        (VoteSettings, {"scope": "clip"}),
        (Profile, {"name": "x", "title": "x", "dataset": "coco", "root": ""}),
    ],
)
def test_refused_value_is_named(cls, values):
    name = "dataset" if cls is Profile else next(iter(values))
    with pytest.raises(ValueError, match=f"^Expected `{name}` to be .*, but got .*"):
        cls(**values)


def test_defaults_are_the_papers():
    assert asdict(MaskletSettings()) == {
        "window": 32,
        "grid": 16,
        "iou": 0.6,
        "stability": 0.8,
        "stability_offset": 0.9,
        "nms": 0.7,
        "clean_px": 0,
    }
    assert asdict(VoteSettings()) == {"overlap": "area", "scope": "frame"}


def test_shortcuts_name_those_taken():
    assert Shortcuts().taken == {} and Shortcuts(input_px=512, every=2).taken == {"input_px": 512, "every": 2}


def test_limits_are_allowed():
    MaskletSettings(window=1, grid=1, iou=0, stability=0, stability_offset=0, nms=0)
    MaskletSettings(iou=1, stability=1.0, nms=1)


def test_settings_are_frozen_and_work_as_keys():
    settings = MaskletSettings(window=8)
    with pytest.raises(FrozenInstanceError):
        settings.window = 16
    assert {settings: 1}[MaskletSettings(window=8)] == 1 and settings != MaskletSettings()


def test_from_dict_refuses_unknown_keys():
    assert from_dict(MaskletSettings, {"window": 8}) == MaskletSettings(window=8)
    assert from_dict(VoteSettings, {}) == VoteSettings()
    with pytest.raises(
        ValueError, match=r"Unknown MaskletSettings field\(s\) \['gird', 'windows'\]; known are .*'grid'"
    ):
        from_dict(MaskletSettings, {"windows": 8, "grid": 4, "gird": 4})
    with pytest.raises(ValueError, match="`window`"):
        from_dict(MaskletSettings, {"window": 0})


def test_profiles_name_themselves():
    assert list(PROFILES) == [p.name for p in PROFILES.values()] and "mini" in PROFILES
    for profile in PROFILES.values():
        names = [name for name, _, _ in profile.models]
        assert names and len(set(names)) == len(names)
