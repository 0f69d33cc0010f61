"""What a track remembers, against stock sam2's own state, over more frames than the model looks back on."""

import numpy as np
import pytest
import torch
from PIL import Image
from sam2.sam2_video_predictor import SAM2VideoPredictor

from lib import sam
from lib.mini.scenes import make_scene, render
from lib.sam import fast, pixels
from lib.sam import track as tracker

N_FRAMES = 18  # tiny looks back on 6 frames and 15 pointers besides the prompt's: both overflow
# how far logits may be from stock's: ten times what they are, and less than a forgotten memory or pointer, or
# memories in float32, make of them (micro 30, 0.6 and 0.8; tiny 1e-3, 1.6e-4 and 1.6e-5)
TOLERANCE = {"micro": 0.1, "tiny": 6e-6}
SIZE = 256  # input pixels; the weights do not depend on it


@pytest.fixture(scope="module")
def frames():
    scene = make_scene(20003)
    return [render(scene, t)[0] for t in range(N_FRAMES)]


@pytest.fixture(scope="module")
def prompts(frames):
    """Two overlapping parts of the first frame, (2, H, W) bool."""
    parts = np.zeros((2, *frames[0].shape[:2]), bool)
    parts[0, :120], parts[1, :, 200:] = True, True
    return parts


def tiny_pair():
    """SAM 2.1 tiny with seeded random weights, ours and stock's. Fresh weights hardly heed what they remember:
    the ages of memories, 0.02 at most, are made as large as what they are added to."""
    torch.manual_seed(0)
    model = sam.official("tiny", image_size=SIZE)
    with torch.no_grad():
        model.maskmem_tpos_enc.mul_(50)
    predictor = sam.official("tiny", "sam2.sam2_video_predictor.SAM2VideoPredictor", image_size=SIZE).eval()
    predictor.load_state_dict(model.state_dict())
    return fast.quicken(model).eval(), predictor


def micro_pair():
    """The micro SAM 2, ours and in stock's own class."""
    model, predictor = sam.load("micro", "cpu"), sam.micro(cls=SAM2VideoPredictor).eval()
    predictor.load_state_dict(model.state_dict())
    return model, predictor


@torch.inference_mode()
def ours(model, frames, prompts):
    """Logits (T, N, S/4, S/4) of a group, and what it remembers after each frame."""
    n = len(frames)
    group = tracker.Group(model, 0, n + 1, [0, 1], pixels.encode_rles(torch.from_numpy(prompts)), 8)
    logits, remembered = [], []
    for t, frame in enumerate(frames):
        encoded = tracker.encode(model, pixels.as_video_predictor(frame, model.image_size))
        logits.append(group.step(t, n + 1, encoded))
        history = group.batches[0][1]
        remembered.append(history["non_cond_frame_outputs" if t else "cond_frame_outputs"][t])
    return torch.stack(logits), remembered


@torch.inference_mode()
def stock(predictor, frames, prompts, folder):
    """The same of `SAM2VideoPredictor`; its state by object, then frame."""
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{t:05d}.jpg", format="PNG")
    state = predictor.init_state(str(folder))
    for i, prompt in enumerate(prompts):
        predictor.add_new_mask(state, 0, i, torch.from_numpy(prompt))
    for _ in predictor.propagate_in_video(state):
        pass
    by_object = []
    for outputs in state["output_dict_per_obj"].values():
        by_object.append({**outputs["cond_frame_outputs"], **outputs["non_cond_frame_outputs"]})
    logits = [torch.cat([found[t]["pred_masks"][:, 0] for found in by_object]) for t in range(len(frames))]
    return torch.stack(logits), by_object


@pytest.fixture(scope="module")
def micro(frames, prompts, tmp_path_factory):
    """The micro SAM 2, and what stock makes of its weights."""
    model, predictor = micro_pair()
    return model, stock(predictor, frames, prompts, tmp_path_factory.mktemp("micro"))


@pytest.fixture(scope="module", params=["micro", "tiny"])
def both(request, frames, prompts, tmp_path_factory):
    """(name of the model, what ours gives, what stock gives)."""
    if request.param == "micro":
        model, theirs = request.getfixturevalue("micro")
    else:
        model, predictor = tiny_pair()
        theirs = stock(predictor, frames, prompts, tmp_path_factory.mktemp("tiny"))
    return request.param, ours(model, frames, prompts), theirs


def distance(found, expected) -> float:
    """The largest difference of logits after the prompt's frame."""
    return (found - expected)[1:].abs().max().item()


def test_tracks_equal_stock_where_memories_and_pointers_are_many(both):
    name, (found, _), (expected, _) = both
    a, b = found > 0, expected > 0
    union = (a | b).sum((2, 3))
    assert torch.where(union > 0, (a & b).sum((2, 3)) / union.clamp(min=1), 1.0).min() >= 0.999
    assert distance(found, expected) < TOLERANCE[name]
    assert 0.01 < b[1:].float().mean() < 0.99, "masks of all or nothing compare nothing"


def test_what_is_remembered_is_what_stock_remembers(both):
    """Memories in bfloat16, as stock stores them on every device, where they lie, and object pointers."""
    _, (_, remembered), (_, by_object) = both
    for t, found in enumerate(remembered):
        for i, outputs in enumerate(by_object):
            expected = outputs[t]
            memory, theirs = found["maskmem_features"][i], expected["maskmem_features"][0]
            assert memory.dtype == theirs.dtype == torch.bfloat16
            # a last bit of bfloat16 may differ where float32 does in its last
            torch.testing.assert_close(memory, theirs, rtol=2**-6, atol=5e-3)
            assert (memory == theirs).float().mean() > 0.98
            torch.testing.assert_close(found["obj_ptr"][i], expected["obj_ptr"][0], rtol=1e-3, atol=1e-4)
            for where, there in zip(found["maskmem_pos_enc"], expected["maskmem_pos_enc"], strict=True):
                torch.testing.assert_close(where[min(i, len(where) - 1)], there[0])


def forget_a_memory(model, monkeypatch):
    ages, n = model.maskmem_tpos_enc.data, model.num_maskmem
    monkeypatch.setattr(model.maskmem_tpos_enc, "data", torch.cat([ages[: n - 2], ages[-1:]]))
    monkeypatch.setattr(model, "num_maskmem", n - 1)


def forget_a_pointer(model, monkeypatch):
    monkeypatch.setattr(model, "max_obj_ptrs_in_encoder", model.max_obj_ptrs_in_encoder - 1)


def remember_in_float32(model, monkeypatch):
    monkeypatch.setattr(torch, "bfloat16", torch.float32)


@pytest.mark.parametrize("forget", [forget_a_memory, forget_a_pointer, remember_in_float32])
def test_the_comparison_sees_what_is_forgotten(forget, micro, frames, prompts, monkeypatch):
    """What tells the test above from one that cannot fail."""
    model, (expected, _) = micro
    forget(model, monkeypatch)
    found, _ = ours(model, frames, prompts)
    assert distance(found, expected) > 3 * TOLERANCE["micro"]
