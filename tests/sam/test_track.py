"""The tracker against stock sam2, and its shared work against each setting alone."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from sam2.sam2_video_predictor import SAM2VideoPredictor
from stock import propose as stock_propose
from stock import track as stock_track
from toy import film, ious

from lib import masklets, sam
from lib.config import MaskletSettings, Shortcuts
from lib.mini.scenes import make_scene, render
from lib.sam import fast, pixels, propose
from lib.sam import segment as segmenting
from lib.sam import track as tracker

LOOSE = MaskletSettings(window=3, grid=8, iou=0.4, stability=0.5)


@pytest.fixture(scope="module")
def frames():
    scene = make_scene(20003)
    return [render(scene, t)[0] for t in range(5)]


@pytest.fixture(scope="module")
def micro():
    return sam.load("micro", "cpu")


@pytest.fixture(scope="module")
def predictor(micro):
    """The same weights in stock's own classes."""
    stock = sam.micro(cls=SAM2VideoPredictor).eval()
    stock.load_state_dict(micro.state_dict())
    return stock


def assert_equal(found: masklets.Masklets, reference: list[np.ndarray], at_least: int):
    """Every masklet of every frame has IoU 0.999 or more with stock's, in stock's order."""
    assert [len(f.ids) for f in found.frames] == [len(masks) for masks in reference]
    assert min(len(masks) for masks in reference) >= at_least, "the test compares too little"
    over_all_frames = [ious(found.masks(t), masks).min() for t, masks in enumerate(reference)]
    assert min(over_all_frames) >= 0.999, over_all_frames


def test_equals_stock_on_the_micro_model(frames, micro, predictor, tmp_path):
    found = segmenting.segment(micro, film(frames), LOOSE, objects_per_batch=4)
    assert_equal(found, stock_track(predictor, frames, LOOSE, tmp_path), at_least=20)


def test_equals_stock_on_an_official_configuration(frames, tmp_path):
    """SAM 2.1 tiny with seeded random weights: other sizes, other memory, multimask tracking, temporal
    positions of pointers."""
    setting = MaskletSettings(window=3, grid=1, iou=0.0, stability=0.0)
    torch.manual_seed(0)
    model = fast.quicken(sam.official("tiny")).eval()
    predictor = sam.official("tiny", "sam2.sam2_video_predictor.SAM2VideoPredictor").eval()
    predictor.load_state_dict(model.state_dict())
    found = segmenting.segment(model, film(frames[:2]), setting)
    reference = stock_track(predictor, frames[:2], setting, tmp_path)
    assert_equal(found, reference, at_least=1)
    assert 0.01 < reference[1].mean() < 0.99, "masks of all or nothing compare nothing"


def test_proposals_equal_stock_field_by_field(frames, micro, predictor):
    candidates = tracker.propose(micro, frames[0], (MaskletSettings(),), clicks_per_batch=100)
    keep = tracker.select(candidates, MaskletSettings())
    reference = stock_propose(predictor, frames[0], MaskletSettings())
    assert len(keep) == len(reference) >= 5
    for i, stock in zip(keep, reference):
        assert candidates.iou[i].item() == pytest.approx(stock["predicted_iou"], abs=1e-5)
        assert candidates.stability[0.9][i].item() == pytest.approx(stock["stability_score"], abs=1e-3)
        assert ious(coco.decode(candidates.rles[i])[None] > 0, stock["segmentation"][None])[0] >= 0.999


def test_shared_settings_equal_each_alone(frames, micro):
    """An ablation of every field at once: windows that start apart, end short and choose the same
    candidate; several grids; all thresholds, two fields at a time."""
    base = MaskletSettings(window=5, grid=5)
    varied = (
        [{"window": w} for w in (1, 2, 3, 4)]
        + [{"grid": g} for g in (2, 4)]
        + [{"iou": x} for x in (0.4, 0.95)]
        + [{"stability": x} for x in (0.4, 0.97)]
    )
    varied += [{"window": w, "iou": 0.4, "stability": 0.4} for w in (2, 3)]
    settings = (base, *(replace(base, **fields) for fields in varied))
    together = segmenting.segment_all(micro, film(frames), settings)
    for setting, shared in zip(settings, together):
        alone = segmenting.segment(micro, film(frames), setting)
        assert shared.settings == setting
        for t in range(len(frames)):
            assert (
                shared.frames[t].ids == alone.frames[t].ids
                and shared.frames[t].start == alone.frames[t].start == t - t % setting.window
            )
            assert (
                shared.frames[t].iou == alone.frames[t].iou
                and shared.frames[t].stability == alone.frames[t].stability
            )
            if shared.frames[t].ids:
                assert ious(shared.masks(t), alone.masks(t)).min() >= 0.999
    found = [tuple(len(frame.ids) for frame in m.frames) for m in together]
    assert len(set(found)) > 6 and min(map(min, found)) > 0, (
        "the settings must differ for this to mean anything"
    )


def test_what_is_known_is_not_tracked_again(frames, micro, monkeypatch):
    tracked = []
    begin = tracker.Group.__init__
    monkeypatch.setattr(
        tracker.Group,
        "__init__",
        lambda group, sam, start, end, members, *rest: (
            tracked.append((start, len(members))) or begin(group, sam, start, end, members, *rest)
        ),
    )
    base = MaskletSettings(window=4, grid=5)
    settings = tuple(replace(base, **fields) for fields in ({}, {"window": 2}, {"iou": 0.4}, {"grid": 4}))
    found = {}
    known = segmenting.segment_all(micro, film(frames), settings[:1])
    # those of another model, say
    others = [replace(m, frames=tuple(replace(f, iou=f.iou[::-1]) for f in m.frames)) for m in known]
    for name, given in (("alone", ()), ("known", known), ("others", others)):
        tracked.clear()
        found[name] = segmenting.segment_all(micro, film(frames), settings, known=given), sorted(tracked)
    assert found["others"][1] == found["alone"][1] != found["known"][1]
    less = sum(n for _, n in found["alone"][1]) - sum(n for _, n in found["known"][1])
    assert less == len(known[0].frames[0].ids) + len(known[0].frames[4].ids) > 4, "of both its windows"
    for name in ("known", "others"):
        for first, again in zip(found["alone"][0], found[name][0]):
            for t, (a, b) in enumerate(zip(first.frames, again.frames, strict=True)):
                assert (a.start, a.ids, a.iou, a.stability) == (b.start, b.ids, b.iou, b.stability)
                assert not a.ids or ious(first.masks(t), again.masks(t)).min() >= 0.999
    tracked.clear()
    assert segmenting.segment_all(micro, film(frames), settings[:1], known=known) == known and not tracked


def test_ids_are_new_in_each_window(frames, micro):
    found = segmenting.segment(micro, film(frames), LOOSE)
    first, second = set(found.frames[0].ids), set(found.frames[3].ids)
    assert found.frames[2].ids == found.frames[0].ids and not first & second


def test_nothing_found_is_no_error(frames, micro):
    found = segmenting.segment(micro, film(frames[:2]), MaskletSettings(iou=1.0))
    assert [f.ids for f in found.frames] == [(), ()] and found.masks(0).shape == (0, 240, 427)


def test_memory_is_bounded_by_the_model_not_the_window(frames, micro):
    """After many frames a group holds the prompted frame and as many others as the model looks at."""
    rles = pixels.encode_rles(torch.from_numpy(np.stack([frames[0][..., 0] > 128])))
    with torch.inference_mode():
        group = tracker.Group(micro, 0, 20, [0], rles, 8)
        encoded = tracker.encode(micro, pixels.as_video_predictor(frames[0], micro.image_size))
        for t in range(12):
            group.step(t, 20, encoded)
    history = group.batches[0][1]
    assert list(history["cond_frame_outputs"]) == [0]
    assert len(history["non_cond_frame_outputs"]) == max(micro.num_maskmem, micro.max_obj_ptrs_in_encoder)


@torch.inference_mode()
def logits_of(model, frames, length) -> list[torch.Tensor]:
    """Track two halves of the first frame through as many frames."""
    halves = torch.zeros(2, *frames[0].shape[:2], dtype=torch.bool)
    halves[0, :120], halves[1, :, 200:] = True, True
    group = tracker.Group(model, 0, length, [0, 1], pixels.encode_rles(halves), 8)
    encoded = [
        tracker.encode(model, pixels.as_video_predictor(frame, model.image_size)) for frame in frames[:length]
    ]
    return [group.step(t, length, encoded[t]) for t in range(length)]


def test_what_is_computed_once_for_all_is_what_each_would_compute(frames, micro, monkeypatch):
    once, clicked = logits_of(micro, frames, 3), tracker.propose(micro, frames[0], [LOOSE])
    assert not [
        name for name, module in micro.named_modules() if {"_forward_sa", "forward"} & vars(module).keys()
    ], "the model is left as it was"
    for module in (tracker, propose):
        monkeypatch.setattr(module, "once", lambda *functions: nullcontext())
    for found, each in zip(once, logits_of(micro, frames, 3)):
        torch.testing.assert_close(found, each, rtol=1e-3, atol=1e-3)
    each = tracker.propose(micro, frames[0], [LOOSE])
    torch.testing.assert_close(clicked.iou, each.iou, rtol=1e-4, atol=1e-4)
    assert (
        coco.iou(clicked.rles, each.rles, [0] * len(each.rles)).diagonal().min() > 0.999
        and len(each.rles) > 4
    )


def test_a_track_of_one_frame_is_the_start_of_a_longer_one(frames, micro):
    """The one does not pass through the model, the other does."""
    (alone,), (start, _) = logits_of(micro, frames, 1), logits_of(micro, frames, 2)
    assert torch.equal(alone, start) and alone.min() < 0 < alone.max()


def test_clean_fills_holes_and_drops_specks():
    mask = np.zeros((9, 11), np.uint8)
    mask[1:8, 1:8] = 1
    mask[3, 3] = 0  # hole of 1
    mask[5:7, 4:6] = 0  # hole of 4
    mask[1, 10] = 1  # speck of 1
    expected = mask.copy()
    expected[3, 3], expected[1, 10] = 1, 0
    assert (pixels.clean(mask, 1) == expected).all()
    expected[5:7, 4:6] = 1
    assert (pixels.clean(mask, 4) == expected).all()
    assert (pixels.clean(mask[:, 9:], 4) == mask[:, 9:]).all(), "the largest part stays, however small"


def test_clean_is_off_unless_asked_for(frames, micro):
    plain, cleaned = segmenting.segment_all(
        micro,
        film(frames[:1]),
        (MaskletSettings(iou=0.3, stability=0.3), MaskletSettings(iou=0.3, stability=0.3, clean_px=60)),
    )
    assert len(plain.frames[0].ids) == len(cleaned.frames[0].ids) > 0
    expected = np.stack([pixels.clean(m, 60) for m in plain.masks(0)])
    assert (cleaned.masks(0) == expected).all()


def test_every_second_frame_keeps_its_masks_for_the_next(frames, micro):
    clip, setting = film(frames), replace(LOOSE, window=4)
    thin = segmenting.segment(micro, film(frames[::2]), replace(LOOSE, window=2))
    found = segmenting.segment(micro, clip, setting, every=2)
    assert (len(found), found.settings) == (5, setting) and [f.start for f in found.frames] == [0, 0, 0, 0, 4]
    assert [(f.ids, f.rles) for f in found.frames] == [
        (thin.frames[t // 2].ids, thin.frames[t // 2].rles) for t in range(5)
    ]
    with pytest.raises(ValueError, match="multiples"):
        segmenting.segment(micro, clip, LOOSE, every=2)


def test_fewer_memories_change_nothing_until_there_are_more(frames, micro):
    """With one memory, frame 2 still sees frame 1 and the prompt; frame 3 misses frame 1."""
    setting = replace(LOOSE, window=5)
    exact, less = (
        segmenting.segment(model, film(frames), setting)
        for model in (micro, sam.load("micro", "cpu", Shortcuts(memories=1)))
    )
    same = [ious(exact.masks(t), less.masks(t)).min() for t in range(5)]
    assert min(same[:3]) >= 0.999 and min(same[3:]) < 1


def test_a_smaller_input_still_finds_things(frames):
    small = sam.load("micro", "cpu", Shortcuts(input_px=128))
    found = segmenting.segment(small, film(frames[:2]), LOOSE)
    assert small.image_size == 128 and len(found.frames[0].ids) >= 3 and found.masks(1).any((1, 2)).sum() >= 3
