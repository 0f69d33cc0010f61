"""The panoptic networks against digests of the authors' own, on seeded weights and inputs: segmenter,
trackers, refiners, panoptic output.
"""

import functools

import numpy as np
import pytest
import torch
from seeded_panoptic import assert_digest, digest, seeded_model, seeded_value, z

from lib.segmentors.panoptic import build, output, panoptic, trace, trace_tracker, trackers, vss

pytestmark = pytest.mark.usefixtures("one_thread")

# tensor, shape, mean, standard deviation, projection, first values
WHOLE = {
    "segmenter": """
        res2 4,256,16,24 1.107772 1.255943 -1.42283 1.88131 2.64956 2.79595 2.44531
        res3 4,512,8,12 1.295163 1.476015 -0.21390 0.09962 0.00000 0.19708 0.00000
        res4 4,1024,4,6 1.917028 1.965770 -1.34840 2.71830 1.49465 1.27279 1.42828
        res5 4,2048,2,3 1.571156 1.840140 -4.38551 0.00000 0.00000 0.00000 0.00000
        mask_features 4,256,16,24 -0.069948 0.764387 0.18494 0.25642 0.13864 0.29536 0.04822
        ms0 4,256,2,3 0.000808 0.983236 0.14236 1.66733 1.70204 1.36497 1.76902
        ms1 4,256,4,6 -0.004926 0.988094 0.63560 -0.67696 -0.42372 -0.06024 -0.03071
        ms2 4,256,8,12 -0.007462 0.971427 -0.11463 -0.51014 0.30009 0.64635 0.39904
        seg_pred_logits 1,4,100,125 -0.006009 1.012699 -0.96565 0.68968 0.36393 0.70267 1.48734
        seg_pred_masks 1,100,4,16,24 -1.628160 3.784679 -1.75145 -1.21654 2.47174 2.62542 1.24577
        seg_pred_embds 1,256,4,100 -0.011057 1.004518 -2.09801 0.56770 0.33961 0.36028 0.21395
    """,
    "dvis-r50-offline": """
        trk_pred_logits 1,4,100,125 -0.090253 1.110952 -0.19344 -0.46123 1.67994 -1.84422 -0.69751
        trk_pred_masks 1,100,4,16,24 3.511585 2.812192 2.37652 4.35713 -1.12656 4.76797 3.17356
        trk_pred_embds 1,256,4,100 -0.004010 1.014367 -0.94656 0.17646 0.07149 0.22494 0.43252
        ref_pred_masks 1,100,4,16,24 -1.532194 2.378971 3.96445 -2.59236 -5.10663 -4.54006 -4.33710
        ref_pred_embds 1,256,4,100 -0.008120 0.987912 -0.19425 -0.33817 -0.09345 -0.20090 -0.24937
        logits 100,125 -0.156892 1.112249 0.18506 -0.32896 -0.28313 -0.88405 0.37594
        aux 100,125 -0.090253 1.110153 0.09606 -0.51196 1.67614 -1.83094 -0.70841
    """,
    "dvis-plus-r50-offline": """
        seg_pred_embds 1,512,4,100 -0.006090 0.803187 -0.93084 0.56770 0.33961 0.36028 0.21395
        seg_raw 1,512,4,100 0.001417 0.800127 -0.86553 0.59218 0.36668 0.38433 0.23420
        trk_pred_logits 1,4,100,125 -0.003510 0.758615 0.22834 0.04176 0.53175 -1.47203 0.90746
        trk_pred_masks 1,100,4,16,24 -2.656489 2.966591 5.18471 -6.01624 -7.37924 -6.17385 -7.72730
        trk_pred_embds 1,512,4,100 -0.002374 0.995739 -0.23342 -0.67185 -0.72127 -0.88219 -1.08507
        ref_pred_masks 1,100,4,16,24 2.114303 2.841378 -3.84115 6.58313 10.23799 12.57199 10.37725
        ref_pred_embds 1,512,4,100 -0.010413 0.997916 -0.15836 -1.06634 -1.01409 -0.94754 -0.84213
        logits 100,125 0.028628 1.144539 2.78425 -1.10276 1.05924 0.23487 -2.24447
        aux 100,125 -0.003510 0.751138 -0.75944 0.02008 0.62563 -1.77000 0.82844
    """,
    "cavis-r50": """
        seg_pred_embds 1,512,4,100 -0.130155 3.298631 -1.84694 0.56770 0.33961 0.36028 0.21395
        trk_pred_logits 1,4,100,125 -0.063161 1.097009 -0.51307 -0.49527 1.71170 -1.52821 -0.77383
        trk_pred_masks 1,100,4,16,24 2.877578 2.845806 2.54226 2.37137 -2.21342 3.40968 1.82965
        trk_pred_embds 1,256,4,100 -0.003771 1.017106 -1.08935 0.06162 0.08204 0.38359 0.69609
        logits 100,125 -0.063161 1.081547 -0.11619 -0.46903 1.88898 -1.87957 -0.47497
    """,
    "cavis-r50-offline": """
        ref_pred_masks 1,100,4,16,24 -3.158544 3.004510 7.25144 -4.54636 -6.47086 -6.27894 -3.85160
        logits 100,125 -0.149210 1.064892 0.28847 -0.43873 -0.93368 -0.51186 1.10181
    """,
    "dvis-swinl-offline": """
        res2 4,192,16,24 -0.007538 1.024830 -0.27013 0.48703 2.05079 0.84317 0.44871
        res3 4,384,8,12 -0.001977 1.015228 -0.93073 -1.74771 -0.90462 0.23477 1.21298
        res4 4,768,4,6 -0.000552 1.016844 -0.52968 0.04434 -1.57231 0.38735 0.22154
        res5 4,1536,2,3 -0.003557 1.006426 -1.13516 -2.34411 -0.48887 -1.39111 -1.67651
        mask_features 4,256,16,24 -0.096649 0.734935 -0.44285 0.19899 0.38492 0.54097 0.04687
        seg_pred_masks 1,200,4,16,24 -4.521082 5.384643 6.32457 -9.16219 -1.69780 -4.02754 -7.12054
        trk_pred_masks 1,200,4,16,24 1.751915 4.229453 4.14559 4.19962 4.48009 3.64534 0.92576
        ref_pred_masks 1,200,4,16,24 -5.032562 4.753736 -6.49818 -8.59943 -4.82704 -1.93133 -3.01496
        logits 200,125 -0.153511 1.054351 -0.02986 -0.19782 -0.44220 -0.85149 0.76672
        aux 200,125 -0.143132 1.105682 -0.22607 -0.29208 1.71308 -1.12084 0.07385
    """,
}
ALONE = {
    "dvis-r50-offline": """
        trk_pred_logits 1,4,20,125 -0.140656 1.048704 0.49918 0.72085 0.01285 -0.48074 0.26127
        trk_pred_masks 1,20,4,8,12 -0.063217 8.369251 -2.05140 1.75534 -1.46336 -7.13673 1.00222
        trk_pred_embds 1,256,4,20 0.007965 1.014421 0.28220 -0.30425 0.00236 -0.07863 0.76354
        ref_pred_masks 1,20,4,8,12 -0.444011 7.356909 -6.51479 0.23258 -5.21426 -13.46004 -8.96711
    """,
    "dvis-plus-r50-offline": """
        trk_pred_logits 1,4,20,125 -0.020601 0.752362 1.88095 0.17862 -0.46501 -1.56239 -0.00434
        trk_pred_masks 1,20,4,8,12 -0.968742 7.390758 19.61647 0.91926 -1.17302 -3.46083 -2.74958
        trk_pred_embds 1,512,4,20 -0.002217 1.009217 -0.22032 -0.98630 -0.20694 -0.14125 -0.52819
        ref_pred_masks 1,20,4,8,12 -0.445995 7.829598 -8.93156 10.41124 -0.84076 -11.05299 -3.74004
    """,
    "cavis-r50": """
        trk_pred_logits 1,4,20,125 -0.112951 1.037243 0.94165 0.50233 -0.21331 -0.42491 0.81295
        trk_pred_masks 1,20,4,8,12 0.032190 8.412502 -4.20924 3.28034 -4.47202 -5.98398 -0.44200
        trk_pred_embds 1,256,4,20 0.008991 1.010977 0.16707 -0.57863 -0.09565 -0.17128 -0.35834
    """,
}
UP_TO_EMBEDDINGS = 10  # rows of the segmenter that do not depend on the tracker


def rows(text):
    """Parse a table: {tensor: (shape, values)}."""
    found = {}
    for line in text.strip().splitlines():
        name, shape, *values = line.split()
        found[name] = tuple(map(int, shape.split(","))), tuple(map(float, values))
    return found


@functools.lru_cache(maxsize=1)
def traced(name):
    model = seeded_model(name)
    return model, trace(model, z(1, "img", (4, 3, 64, 96)), (3, 1))


def assert_rows(found, expected, loose=False):
    for name, (shape, values) in expected.items():
        tolerances = (1e-3, 5e-3) if loose and name[:3] in ("trk", "ref", "log", "aux") else (2e-4, 2e-3)
        assert_digest(found[name], shape, values, *tolerances)


def tubes_of(found, thresholds=(0.04, 0.1)):
    """Panoptic output of a traced model, frames of 60x90 shown at 128x192: (id, class, pixels)."""
    masks = found.get("ref_pred_masks", found["trk_pred_masks"])[0]
    ids, segments = panoptic(
        found["logits"], found.get("aux"), masks, (64, 96), (60, 90), (128, 192), thresholds
    )
    assert [(ids == s.id).sum() for s in segments] == [s.pixels for s in segments] and ids.shape == (
        4,
        128,
        192,
    )
    return [(s.id, s.class_id, s.pixels) for s in segments]


def assert_tubes(found, expected):
    tubes = tubes_of(found)
    assert [t[:2] for t in tubes] == [t[:2] for t in expected]
    assert np.abs(np.array(tubes) - np.array(expected))[:, 2].max() <= 3


def online_of(offline, found, name):
    """The online model of the same weights: its logits are the mean that the offline one has beside its
    own.
    """
    model = seeded_model_from(offline, name)
    online = trace(model, z(1, "img", (4, 3, 64, 96)), (4,))
    assert "aux" not in online and "ref_pred_masks" not in online
    torch.testing.assert_close(online["logits"], found["aux"], atol=2e-5, rtol=0)
    return online


def seeded_model_from(offline, name):
    with torch.device("meta"):
        model = build(name)
    model.load_state_dict(
        {k: v for k, v in offline.state_dict().items() if not k.startswith("refiner.")}, assign=True
    )
    return model.eval()


# --- A: whole models ---


def test_dvis():
    model, found = traced("dvis-r50-offline")
    assert_rows(found, rows(WHOLE["segmenter"]) | rows(WHOLE["dvis-r50-offline"]))
    assert len(model.state_dict()) == 868 - 1 and sum(p.numel() for p in model.parameters()) == pytest.approx(
        68.12e6, abs=6e3
    )
    assert_tubes(found, [(1, 87, 6925), (2, 53, 3387), (3, 53, 17811), (4, 53, 32128)])
    assert_tubes(online_of(model, found, "dvis-r50"), [(1, 53, 97924)])


def test_dvis_plus():
    model, found = traced("dvis-plus-r50-offline")
    shared = dict(list(rows(WHOLE["segmenter"]).items())[:UP_TO_EMBEDDINGS])
    assert_rows(found, shared | rows(WHOLE["dvis-plus-r50-offline"]))
    assert len(model.state_dict()) == 882 - 1 and sum(p.numel() for p in model.parameters()) == pytest.approx(
        115.89e6, abs=6e3
    )
    assert_tubes(found, [(1, 9, 48367), (2, 120, 35422)])
    assert_tubes(online_of(model, found, "dvis-plus-r50"), [(1, 120, 83094)])


def test_cavis():
    model, found = traced("cavis-r50-offline")
    online = rows(WHOLE["cavis-r50"])
    online["aux"] = online.pop("logits")
    shared = dict(list(rows(WHOLE["segmenter"]).items())[:UP_TO_EMBEDDINGS])
    assert_rows(found, shared | online | rows(WHOLE["cavis-r50-offline"]), loose=True)
    online = online_of(model, found, "cavis-r50")
    assert_rows(online, rows(WHOLE["cavis-r50"]), loose=True)
    assert (
        len(seeded_model_from(model, "cavis-r50").state_dict()) == 685 - 2
    )  # class weights of the loss, and the constant filter
    assert_tubes(online, [(1, 53, 94869)])


def test_dvis_swin():
    model, found = traced("dvis-swinl-offline")
    assert_rows(found, rows(WHOLE["dvis-swinl-offline"]))
    assert len([key for key in model.state_dict() if key.startswith("backbone.")]) == 357 - 24  # index tables
    assert sum(p.numel() for p in model.backbone.parameters()) == pytest.approx(195.2e6, rel=1e-3)
    classes = 53, 54, 53, 53, 53, 122, 54, 53, 72, 53, 54, 54, 53
    pixels = 4931, 223, 1717, 2789, 2759, 2082, 2385, 459, 467, 98, 38, 552, 574
    assert_tubes(found, list(zip(range(1, 14), classes, pixels)))


# --- B: tracker and refiner alone, where the matching is no identity ---


@pytest.mark.parametrize("name", ALONE)
def test_tracker_alone(name):
    model = seeded_tracker(name)
    embeddings, raw = moving(model.config)
    found = trace_tracker(model, embeddings, raw, z(1, "mf", (4, 256, 8, 12)), resume_at=3)
    assert_rows(found, rows(ALONE[name]))
    layout = [None if x is None else x.permute(2, 0, 1)[None] for x in (embeddings, raw)]
    again = trace_tracker(model, *layout, z(1, "mf", (4, 256, 8, 12)))
    assert all(torch.equal(value, again[key]) for key, value in found.items())


def seeded_tracker(name):
    """A model whose backbone and segmenter are not needed and left as they come."""
    with torch.device("meta"):
        model = build(name)
    for part in ("tracker", "refiner"):
        if (module := getattr(model, part)) is not None:
            module.to_empty(device="cpu")
            module.load_state_dict(
                {key: seeded_value(f"{part}.{key}", tuple(v.shape)) for key, v in module.state_dict().items()}
            )
    return model.eval()


def moving(config):
    """Embeddings of 20 queries that change places from frame to frame, (4, 20, C), and raw ones; DVIS has
    none.
    """
    base, n_raw = (
        z(1, "base", (20, config.embedding)),
        {"dvis": 0, "dvis-plus": 512, "cavis": 256}[config.tracker],
    )
    embeddings = torch.stack(
        [
            base[(torch.arange(20) + 7 * t) % 20] + 0.3 * z(1, f"noise{t}", (20, config.embedding))
            for t in range(4)
        ]
    )
    raw = (
        torch.stack([0.8 * embeddings[t][:, :n_raw] + 0.2 * z(1, f"raw{t}", (20, n_raw)) for t in range(4)])
        if n_raw
        else None
    )
    return embeddings, raw


@pytest.mark.parametrize(
    "name, turned, forgotten",
    [("dvis-r50", -5.475, -9.516), ("cavis-r50", -0.579, -0.692), ("dvis-plus-r50", 17.769, 23.865)],
)
def test_what_mistakes_look_like(name, turned, forgotten, monkeypatch):
    """The authors' permutation turned round, and a state that is lost before the last frame: both move the
    projection to a known place.
    """
    model, features = seeded_tracker(name), z(1, "mf", (4, 256, 8, 12))
    embeddings, raw = moving(model.config)
    parts = slice(0, 3), slice(3, 4)
    lost = [
        trace_tracker(model, embeddings[p], None if raw is None else raw[p], features[p])["trk_pred_masks"]
        for p in parts
    ]
    assert digest(torch.cat(lost, 2))[2] == pytest.approx(forgotten, abs=5e-3)
    right = trackers.reorder
    monkeypatch.setattr(
        trackers, "reorder", lambda previous, current, inverse: right(previous, current, not inverse)
    )
    found = trace_tracker(model, embeddings, raw, features)["trk_pred_masks"]
    assert digest(found)[2] == pytest.approx(turned, abs=5e-3)


# --- C: panoptic and semantic output alone ---


def contest():
    """12 queries with made classes and masks that overlap: class logits, those of a tracker, mask logits of
    two frames.
    """
    classes = z(3, "cls", (12, 125))
    for q, c in enumerate((5, 70, 70, 70, 3, 3, 110, 124, 20, 90, 90, 5)):
        classes[q, c] += 4 if q == 11 else 12
    aux = z(3, "aux", (12, 125))
    aux[11, 5] += 12
    y, x = torch.meshgrid(torch.arange(16), torch.arange(24), indexing="ij")
    cell = (y // 6).clamp(max=2) * 4 + x // 6
    masks = torch.where(cell == torch.arange(12)[:, None, None], 4.0, -4.0)
    masks[9, :, :12] += 5
    masks[1, :, 6:14] += 3
    masks[7] += 6
    return classes, aux, masks[:, None] + 2 * z(3, "msk", (12, 2, 16, 24))


SIZES = (64, 96), (60, 90), (120, 180)


def test_panoptic_output():
    classes, aux, masks = contest()
    expected = [
        (1, 5, 0, 4245),
        (2, 70, 2, 7839),
        (3, 3, 4, 4035),
        (4, 3, 5, 3761),
        (5, 110, 6, 4535),
        (6, 20, 8, 1985),
        (7, 90, 10, 2204),
    ]
    ids, found = panoptic(classes, None, masks, *SIZES)
    assert [s[:3] for s in found] == [s[:3] for s in expected] and np.abs(
        np.array(found) - np.array(expected)
    ).max() <= 3
    assert digest(ids)[:3] == pytest.approx((2.247338, 2.187639, -2.33476), abs=2e-3) and (
        ids == 0
    ).sum() == pytest.approx(14596, abs=9)
    ids, found = panoptic(classes, aux, masks, *SIZES)
    assert [s.pixels for s in found] == pytest.approx(
        [4245, 7820, 4035, 3753, 4535, 1955, 2203, 1669], abs=3
    ) and found[-1][:3] == (8, 5, 11)
    assert digest(ids)[:3] == pytest.approx((2.550463, 2.402746, -3.61056), abs=2e-3) and (
        ids == 0
    ).sum() == pytest.approx(12985, abs=9)


def test_semantic_output():
    classes, aux, masks = contest()
    for tracker, expected in (
        (None, (54.168958, 39.251625, 36.68029)),
        (aux, (52.918403, 39.881749, 35.09945)),
    ):
        labels = vss(classes, tracker, masks, *SIZES)
        assert labels.shape == (2, 120, 180) and digest(labels)[:3] == pytest.approx(expected, abs=2e-2)


def test_nothing_is_sure():
    classes, _, masks = contest()
    ids, found = panoptic(classes, None, masks, *SIZES, thresholds=(1.0, 0.8))
    assert not ids.any() and ids.shape == (2, 120, 180) and found == []


def test_panoptic_output_equals_the_literal_rule(monkeypatch):
    """All masks at full size at once, as the authors hold them, against a few at a time."""
    classes, aux, masks = contest()
    p = output.probabilities(classes, aux)
    score, label = p.max(1)
    kept = [q for q in range(12) if label[q] != 124 and score[q] > 0.5]
    full = torch.stack([output.full_size(masks[kept, t], output.Sizes(*SIZES)) for t in range(2)], 1)
    winner = (full * score[kept][:, None, None, None]).argmax(0)
    ids, stuff, n = np.zeros((2, 120, 180), int), {}, 0
    for k, q in enumerate(kept):
        won, own = winner == k, full[k] >= 0.5
        both = won & own
        if not both.any() or won.sum() / own.sum() < 0.3:
            continue
        c = int(label[q])
        if c < 58 or c not in stuff:
            n += 1
            stuff[c] = n if c >= 58 else None
        ids[both.numpy()] = stuff[c] or n
    monkeypatch.setattr(output, "AT_A_TIME", 2)
    found, _ = panoptic(classes, aux, masks, *SIZES, thresholds=(0.5, 0.3))
    assert n > 7 and np.array_equal(found, ids)
