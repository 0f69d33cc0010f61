import json
import os

import numpy as np
import oracles
import pytest
from toy import random_clip, write_clips

from lib.clips.datasets import VSPW_CLASSES, read_vspw
from lib.clips.errors import DataError, DataMissingError
from lib.clips.images import write_labels
from lib.commands.evaluate import count_predictions, evaluate, format_scores
from lib.files import write_json
from lib.intervals import intervals


@pytest.fixture
def clips():
    return {"street": random_clip(18, 1), "park": random_clip(17, 2), "glimpse": random_clip(9, 3)}


@pytest.mark.parametrize("protocol", ["vspw", "paper", "both"])
def test_against_oracle(tmp_path, clips, protocol):
    result = evaluate(*write_clips(tmp_path, clips), protocol=protocol)
    for scores, some in [(result, clips)] + [(result["clips"][name], {name: clips[name]}) for name in clips]:
        expected = oracles.summary(list(some.values()), 5, protocol)
        assert {metric for metric in scores if metric[:2] == "mV"} == {
            metric for metric in expected if metric[:2] == "mV"
        }
        for metric, score in expected.items():
            assert scores[metric] == (None if np.isnan(score) else pytest.approx(score))
    assert result["left_out"] == ([] if protocol == "paper" else ["glimpse"])
    assert (result["n_clips"], result["n_frames"], result["protocol"]) == (3, 44, protocol)
    assert {name: scores["frames"] for name, scores in result["clips"].items()} == {
        "street": 18,
        "park": 17,
        "glimpse": 9,
    }
    assert tuple(result["classes"]) == VSPW_CLASSES
    known = [iou for iou in result["classes"].values() if iou is not None]
    assert len(known) == 4 and np.mean(known) == pytest.approx(result["mIoU"])


def test_json_and_table(tmp_path, clips):
    result = evaluate(*write_clips(tmp_path, clips))
    path = tmp_path / "new" / "scores.json"
    write_json(path, result)
    assert json.loads(path.read_text()) == result
    table = format_scores(result)
    for metric in ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16", "mVC8_eq4", "mVC16_eq4"):
        assert sum(line.split()[:2] == [metric, f"{result[metric]:.2f}"] for line in table.splitlines()) == 1
    assert "percent" in table and "1 of 3 clips, glimpse (9 frames)" in table
    assert "16 frames (paper Eq. 4)" in table


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"mIoU": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"mIoU": float("nan")})
    assert json.loads(path.read_text()) == {"mIoU": 1.0}
    assert os.listdir(tmp_path) == ["scores.json"]


def test_one_short_clip_is_told_the_remedy(tmp_path, clips, caplog):
    roots = write_clips(tmp_path, {"glimpse": clips["glimpse"]})
    result = evaluate(*roots)
    assert result["mIoU"] is None and result["mVC8_eq4"] is not None and result["left_out"] == ["glimpse"]
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    table = format_scores(result)
    assert "1 of 1 clip, glimpse (9 frames)" in table and "--protocol paper" in table and "nan" not in table
    remedied = format_scores(evaluate(*roots, protocol="paper"))
    assert "Left out" not in remedied and "mIoU              -" not in remedied


def test_counts_serve_intervals(tmp_path, clips):
    predictions_root, truth_root = write_clips(tmp_path, clips)
    seen = []
    counts = count_predictions(
        predictions_root, read_vspw(truth_root), progress=lambda pairs: seen.extend(pairs) or seen
    )
    assert [c.name for c in counts] == [clip.name for clip, _ in seen] == list(clips)
    low, high, n, *_ = intervals(counts)["mIoU"]
    assert low < high and n == 2  # the script leaves one out


def test_names_are_checked_before_any_frame_is_read(tmp_path, clips):
    predictions_root, truth_root = write_clips(tmp_path, clips)
    (predictions_root / "glimpse" / "00000004.png").unlink()
    (predictions_root / "street" / "00000000.png").write_bytes(b"damaged")
    with pytest.raises(DataMissingError, match="00000004"):
        evaluate(predictions_root, truth_root)


def test_bad_input(tmp_path, clips):
    predictions_root, truth_root = write_clips(tmp_path, clips)
    with pytest.raises(ValueError, match="protocol"):
        evaluate(predictions_root, tmp_path / "nowhere", protocol="coco")
    write_labels(predictions_root / "park" / "00000002.png", np.full((13, 17), 124, np.uint8))
    with pytest.raises(DataError, match="00000002"):
        evaluate(predictions_root, truth_root)
    (truth_root / "test.txt").write_text("street\n")
    for file in (truth_root / "data" / "street" / "mask").iterdir():
        file.unlink()
    (truth_root / "data" / "street" / "mask").rmdir()
    with pytest.raises(DataMissingError, match="Choose a split with labels"):
        evaluate(predictions_root, truth_root, split="test")
