"""The switch: without the tricks of `lib.sam.fast` a model is stock sam2, and its masklets are ours."""

import pytest
import stock
from sam2.sam2_video_predictor import SAM2VideoPredictor
from toy import film, ious

from lib import sam
from lib.config import MaskletSettings, Shortcuts
from lib.mini.scenes import make_scene, render
from lib.sam.segment import segment

LOOSE = MaskletSettings(window=3, grid=8, iou=0.4, stability=0.5)


@pytest.fixture(scope="module")
def frames():
    scene = make_scene(20003)
    return [render(scene, t)[0] for t in range(5)]


@pytest.fixture(scope="module")
def exact():
    return sam.load("micro", "cpu", exact_stock=True)


def changed(model, frame) -> tuple[set[str], set[bool]]:
    """The modules of this library in a model, and whether functions of modules are replaced while it tracks
    and while it clicks."""
    seen = set()
    watched = [
        (model.memory_attention, [model.memory_attention.layers[0], model.memory_encoder.pix_feat_proj]),
        (
            model.sam_mask_decoder.transformer,
            [model.sam_mask_decoder.transformer.layers[0].cross_attn_image_to_token.q_proj],
        ),
    ]
    hooks = [
        module.register_forward_pre_hook(
            lambda *_, parts=parts: seen.update(
                bool({"_forward_sa", "forward"} & vars(p).keys()) for p in parts
            )
        )
        for module, parts in watched
    ]
    segment(model, film([frame] * 2), LOOSE)
    for hook in hooks:
        hook.remove()
    return {type(m).__name__ for m in model.modules() if type(m).__module__.startswith("lib.")}, seen


def test_exact_stock_leaves_sam2_as_it_is(frames, exact):
    assert changed(exact, frames[0]) == (set(), {False})
    classes, replaced = changed(sam.load("micro", "cpu"), frames[0])
    assert classes == {"FusedLayerNorm2d", "FewKeysAttention", "NarrowMemoryAttention"} and True in replaced


def test_exact_stock_equals_stock_and_ours(frames, exact, tmp_path):
    predictor = sam.micro(cls=SAM2VideoPredictor).eval()
    predictor.load_state_dict(exact.state_dict())
    expected = stock.track(predictor, frames, LOOSE, tmp_path)
    plain = segment(exact, film(frames), LOOSE)
    ours = segment(sam.load("micro", "cpu"), film(frames), LOOSE)
    assert min(len(masks) for masks in expected) >= 20
    for t, masks in enumerate(expected):
        assert ious(plain.masks(t), masks).min() >= 0.999
        assert ious(plain.masks(t), ours.masks(t)).min() >= 0.999


def test_exact_stock_refuses_an_approximation():
    with pytest.raises(ValueError, match="exact_stock"):
        sam.load("micro", "cpu", Shortcuts(memories=1), exact_stock=True)
