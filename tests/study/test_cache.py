"""Names of cached results: whoever changes them makes every user compute everything anew."""

import re
from dataclasses import replace

import numpy as np
import pytest
from toy import clip_of

from lib.paths import ROOT
from lib.study.cache import VERSIONS, content, content_of_frames, key


def test_keys_are_those_of_caches_that_are_in_use():
    """By hand: printf '[4, "w", {"window": 32}]' | sha256sum."""
    assert key(4, "w", {"window": 32}) == "c99610f72173cc6c"
    assert key(4, "w", {"window": 32}, digits=24).startswith(key(4, "w", {"window": 32}))


def test_whatever_a_result_depends_on_changes_its_key():
    keys = [key(*made_of) for made_of in ((1, "a"), (2, "a"), (1, "b"), ("a", 1), (1, ["a"]), (1, "a", None))]
    assert len(set(keys)) == len(keys)
    with pytest.raises(TypeError):
        key(object())


def test_frames_are_named_by_pictures_and_labels():
    truths = list(np.random.default_rng(0).integers(0, 4, (3, 13, 17)).astype(np.uint8))
    changed = [truths[0], truths[1], truths[2].copy()]
    changed[2][0, 0] += 1
    clip, other = clip_of(truths), clip_of(changed)
    assert content(clip) != content(other) and content(clip) == content(clip_of(truths))
    assert content_of_frames([(clip, (0, 1))]) == content_of_frames([(other, [0, 1])])
    assert content_of_frames([(clip, (0, 2))]) != content_of_frames([(other, (0, 2))])
    assert content_of_frames([(clip, (0, 1))]) != content_of_frames([(clip, (1, 0))])
    for of_other in ({"read_truth": other.read_truth}, {"read_image": other.read_image}):
        assert content_of_frames([(replace(clip, **of_other), (2,))]) != content_of_frames([(clip, (2,))])


def test_keys_are_made_in_one_place():
    """And no cache is keyed by the bytes of a source file, which a comment changes."""
    keyed = [
        path.relative_to(ROOT / "lib").as_posix()
        for path in (ROOT / "lib").rglob("*.py")
        if re.search(r"sha256\(json\.dumps|__file__\)\.read_bytes", path.read_text())
    ]
    # the fingerprint of a clip and the digest of its frames are names by content, which are no keys of results
    assert sorted(keyed) == ["clips/clip.py", "clips/digests.py", "study/cache.py"]
    assert all(isinstance(version, int) and version > 0 for version in VERSIONS.values())


def test_profiles_are_told_apart_in_their_own_file():
    """A peculiarity is a field of `Profile`; the command line alone compares its default."""
    by_name = re.compile(r"""profile(\.name)? [!=]= ["']""")
    files = [path for path in (ROOT / "lib").rglob("*.py") if by_name.search(path.read_text())]
    assert [path.relative_to(ROOT / "lib").as_posix() for path in files] == ["commands/run.py"]
