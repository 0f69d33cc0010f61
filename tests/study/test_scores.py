"""Counts that are cached must be those that would be counted again, and only for the same labels."""

from dataclasses import fields, replace

import numpy as np
import pytest
from toy import clip_of

from lib import paths, study
from lib.boundary import accuracy_by_distance
from lib.clips.clip import Dataset
from lib.metrics import ADDED, ClipCounts
from lib.study import scores
from lib.study.profiles import PROFILES


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    rng = np.random.default_rng(0)
    clip = clip_of(list(rng.integers(0, 4, (20, 13, 17)).astype(np.uint8)))
    return study.Study(PROFILES["mini"], tmp_path, Dataset("toy", "val", tuple("abcd"), (clip,)), "micro")


def test_counts_come_back_from_the_cache_as_they_were_and_are_not_counted_again(run):
    calls = []
    labels_of = lambda clip: calls.append(clip.name) or [np.roll(clip.truth(t), 1) for t in range(len(clip))]
    (first,), (second,) = (scores.score(run, labels_of, lambda clip: "rolled") for _ in range(2))
    assert len(calls) == 1
    for f in fields(ClipCounts):
        a, b = getattr(first, f.name), getattr(second, f.name)
        if f.name != "blocks":
            assert type(a) is type(b) and np.array_equal(a, b), f.name
    assert len(first.blocks) == len(second.blocks) == 3, "20 frames of a clip that is alone, by eight"
    for one, other in zip(first.blocks, second.blocks):
        for name in ("name", "n_frames", "windows", *ADDED):
            a, b = getattr(one, name), getattr(other, name)
            assert type(a) is type(b) and np.array_equal(a, b), name


def test_only_a_clip_that_is_alone_is_counted_by_blocks(run):
    clip = run.dataset.clips[0]
    twice = replace(run, dataset=replace(run.dataset, clips=(clip, replace(clip, name="again"))))
    labels_of = lambda clip: [clip.truth(t) for t in range(len(clip))]
    assert [c.blocks for c in scores.score(twice, labels_of, lambda clip: "truth")] == [(), ()]
    assert scores.score(run, labels_of, lambda clip: "truth")[0].blocks, "under a key of its own"


def test_other_labels_or_another_truth_are_counted_anew(run):
    right = lambda clip: [clip.truth(t) for t in range(len(clip))]
    wrong = lambda clip: [np.roll(clip.truth(t), 1) for t in range(len(clip))]
    (a,) = scores.score(run, right, lambda clip: "right")
    (b,) = scores.score(run, wrong, lambda clip: "wrong")
    assert a.correct_px.sum() > b.correct_px.sum()
    (clip,) = run.dataset.clips
    other = replace(
        run,
        dataset=replace(
            run.dataset, clips=(replace(clip, read_truth=lambda t: np.zeros((13, 17), np.uint8)),)
        ),
    )
    (c,) = scores.score(other, right, lambda clip: "right")
    assert c.truth_px[0] == 20 * 13 * 17 != a.truth_px[0]


def test_counts_near_the_boundary_are_those_of_the_clip_and_cached(run):
    calls = []
    moved = lambda by: (
        lambda clip: calls.append(by) or [np.roll(clip.truth(t), by) for t in range(len(clip))],
        lambda clip: f"moved by {by}",
    )
    ((first,),) = scores.score_near_boundary(run, [moved(1)])
    # only what is not cached is counted
    (again,), (other,) = scores.score_near_boundary(run, [moved(1), moved(2)])
    assert calls == [1, 2] and first.dtype == again.dtype == np.int64
    (clip,) = run.dataset.clips
    truths = [clip.truth(t) for t in range(len(clip))]
    expected = accuracy_by_distance(truths, [[np.roll(t, by) for t in truths] for by in (1, 2)])
    assert first.tolist() == again.tolist() == expected[0].tolist() != other.tolist() == expected[1].tolist()
    assert scores.score_near_boundary(run, []) == []


def test_without_a_name_nothing_is_cached(run, tmp_path):
    scores.score(run, lambda clip: [clip.truth(t) for t in range(len(clip))])
    assert not list(tmp_path.rglob("*.npz"))
