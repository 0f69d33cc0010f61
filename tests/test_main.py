"""The command line as a user meets it: in a process of its own, with exit codes and one line per error."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from toy import make_masklets, random_clip, write_clips

import lib.__main__ as cli
from lib import paths, study
from lib.clips.digests import digests, frames_digest
from lib.clips.errors import DataMissingError
from lib.clips.folders import read_frames
from lib.clips.images import write_labels
from lib.commands import check as checker
from lib.commands import results
from lib.commands.check import can_run, check
from lib.config import MaskletSettings
from lib.cost.flops import of_peak
from lib.cost.forecast import ASSUMED_RELEASED, duration, predict_cost
from lib.files import write_json
from lib.paths import ROOT
from lib.study.cache import VERSIONS

pytestmark = pytest.mark.usefixtures("own_cache")

COMMANDS = {  # in the order in which people need them, with an option of each
    "check": "--profile",
    "predict": "--weights",
    "refine": "--stability-offset",
    "evaluate": "--protocol",
    "run": "--tables",
    "fit": "--features",
    "train": "--minutes",
}


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "lib", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def test_help_names_every_command_in_the_order_of_need():
    done, bare = command("--help"), command()
    assert done.returncode == 0 and "examples:" in done.stdout
    places = [done.stdout.index(f"\n    {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert bare.returncode == 2 and bare.stdout == done.stdout


def test_every_line_of_the_documents_is_one_that_the_parser_takes():
    lines = [
        line.partition("python -m lib ")[2]
        for file in (ROOT / "README.md", ROOT / "data" / "README.md", *(ROOT / "lib/commands").glob("*.py"))
        for line in file.read_text().splitlines()
        if re.match(r"(  )?(\.venv/bin/)?python -m lib \w", line)
    ]
    assert len(lines) > 15
    for line in lines:
        arguments = shlex.split(line, comments=True)
        assert cli.parser(arguments[0]).parse_args(arguments).command in COMMANDS


def test_the_forecast_in_the_readme_is_that_of_the_forecast_function():
    """SAM 2.1 large on the val split of VSPW, an A100 at 28 % of its peak in bfloat16."""
    lengths = [71] * 194 + [72] * 149  # 24,502 frames in 343 clips; only their mean is known here
    assert sum(lengths) == 24502
    rate = of_peak(312, 0.28, "an A100")
    cost = predict_cost(lengths, (480, 853), MaskletSettings(), "large", ASSUMED_RELEASED, rate, on_gpu=True)
    told = f"about {duration(cost.total_s)} on an A100, if SAM 2.1 large with {ASSUMED_RELEASED:.0f} masklets a frame"
    assert told in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and COMMANDS[name] in text
    assert "example" in text and "(default: " in text


def test_light_commands_import_no_torch():
    code = "import sys\nfrom lib.__main__ import main\ntry: main(['evaluate', '--help'])\nfinally: print('torch' in sys.modules, 'papermill' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.split() == ["False", "False"]


@pytest.mark.parametrize(
    "arguments",
    ["refine {0} {0}/nowhere {0}/out", "predict --model cffm-b1 --weights {0}/none --data {0} {0}/out"],
)
def test_wrong_input_is_reported_before_torch_is_loaded(tmp_path, arguments):
    write_clips(tmp_path, {"street": random_clip(2, 1)})
    words = arguments.format(tmp_path / "truth").split()
    code = f"import sys\nfrom lib.__main__ import main\nassert main({words!r}) == 2\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["False"] and done.stderr.startswith("error: "), done.stderr


@pytest.fixture
def clips(tmp_path):
    """Two clips in VSPW layout and predictions for them; returns (predictions, truth)."""
    return write_clips(tmp_path, {"street": random_clip(18, 1), "park": random_clip(17, 2)})


def test_evaluate(tmp_path, clips):
    done = command("evaluate", clips[0], "--truth", clips[1], "--json", tmp_path / "scores.json")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert {
        "mIoU",
        "wIoU",
        "mBIoU",
        "mVC8",
        "mVC16",
        "mVC8_eq4",
        "mVC16_eq4",
        "classes",
        "clips",
    } <= scores.keys()
    assert set(scores["clips"]) == {"street", "park"} and f"{scores['mIoU']:.2f}" in done.stdout


def test_refine_wrong_input_is_one_line(tmp_path, clips):
    (clips[0] / "street" / "00000003.png").unlink()
    frames = tmp_path / "frames"
    frames.mkdir()
    for name in ("street", "park"):
        (frames / name).symlink_to(clips[1] / "data" / name / "origin")
    done = command("refine", frames, clips[0], tmp_path / "out", "--checkpoint", "micro")
    assert done.returncode == 2 and not (tmp_path / "out").exists() and done.stdout == ""
    assert (
        len(done.stderr.splitlines()) == 1
        and done.stderr.startswith("error: ")
        and "street/00000003.png: expected a prediction" in done.stderr
    )


def test_several_problems_stand_on_a_line_each(tmp_path, clips, capsys):
    for name in ("00000003", "00000004"):
        path = clips[0] / "street" / f"{name}.png"
        path.write_bytes(path.read_bytes()[:-1])
    arguments = [
        "refine",
        str(clips[1] / "data/street/origin"),
        str(clips[0] / "street"),
        str(tmp_path / "out"),
    ]
    for line in (arguments, ["evaluate", str(clips[0]), "--truth", str(clips[1])]):
        assert cli.main(line) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "error: 2 files are missing or wrong:" and len(lines) == 3
        assert all(line.startswith(f"  {clips[0]}/street/0000000") for line in lines[1:])


def test_refine_passes_its_options_on(tmp_path, clips, monkeypatch, capsys):
    """With masklets at hand no model is loaded: the whole command, but for SAM 2."""
    settings = MaskletSettings(window=9, grid=8, iou=0.5, stability=0.7, stability_offset=1.0, clean_px=4)
    masks = np.random.default_rng(0).random((18, 2, 13, 17)) < 0.4
    weights = tmp_path / "tiny.pt"
    weights.write_bytes(b"weights of tiny")
    monkeypatch.setattr("lib.sam.checkpoints.download", lambda name: weights)
    frames = clips[1] / "data/street/origin"
    make_masklets([masks[:9], masks[9:]], settings).save(tmp_path / "masklets" / "origin.json")
    expected = {
        "checkpoint": "tiny",
        "weights": digests([weights])[0],
        "window": 9,
        "grid": 8,
        "iou": 0.5,
        "stability": 0.7,
        "stability_offset": 1.0,
        "nms": 0.7,
        "clean_px": 4,
        "bf16": False,
    }
    clip = {"frames": frames_digest(read_frames(frames)[0]), "done": True}
    record = {**expected, "version": f"{VERSIONS['masklets']}", "clips": {"origin": clip}}
    write_json(tmp_path / "masklets" / "_masklets.json", record)
    options = "--window 9 --grid 8 --iou 0.5 --stability 0.7 --stability-offset 1.0 --clean-px 4 --overlap score --vote masklet --checkpoint tiny"
    arguments = [
        "refine",
        str(frames),
        str(clips[0] / "street"),
        str(tmp_path / "out"),
        *options.split(),
        "--masklets",
        str(tmp_path / "masklets"),
    ]
    assert cli.main(arguments) == 0
    assert "clips refined: 1\n" in capsys.readouterr().out
    assert len(list((tmp_path / "out/origin").iterdir())) == 18
    record = json.loads((tmp_path / "out/_refined.json").read_text())
    assert record.pop("clips")["origin"].items() >= clip.items()
    version = f"{VERSIONS['masklets']}.{results.REFINE_VERSION}"
    assert record == expected | {"overlap": "score", "scope": "masklet", "version": version}
    assert cli.main(arguments) == 0 and "clips refined: 0 (all were there)" in capsys.readouterr().out
    # without --checkpoint, the recorded one
    unnamed = [a for a in arguments if a not in ("--checkpoint", "tiny")]
    assert cli.main(unnamed) == 0 and "clips refined: 0 (all were there)" in capsys.readouterr().out
    weights.write_bytes(b"other weights at the same place")
    assert cli.main(arguments) == 2 and "other weights" in capsys.readouterr().err
    weights.write_bytes(b"weights of tiny")
    assert (
        cli.main([*arguments, "--objects-per-batch", "0"]) == 2
        and "--objects-per-batch" in capsys.readouterr().err
    )
    assert cli.main([*arguments, "--window", "0"]) == 2 and "`window`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["refine", "{tmp}/nowhere", "{tmp}", "{tmp}/out"], "nowhere"),
        (
            ["refine", "{clip}", "{tmp}/predictions/street", "{tmp}/out", "--checkpoint", "{tmp}/none.pt"],
            "none.pt",
        ),
        (
            [
                "refine",
                "{clip}",
                "{tmp}/predictions/street",
                "{tmp}/out",
                "--checkpoint",
                "micro",
                "--device",
                "abacus",
            ],
            "--device",
        ),
        (["evaluate", "{tmp}/predictions", "--truth", "{tmp}/truth", "--split", "test"], "test.txt"),
        (
            [
                "predict",
                "--model",
                "unet",
                "--checkpoint",
                "{tmp}/truth/val.txt",
                "--data",
                "{tmp}/truth",
                "{tmp}/out",
            ],
            "unet",
        ),
        ("predict --model cffm-b1 --weights {tmp}/none.pt --data {tmp}/truth {tmp}/out".split(), "none.pt"),
        (
            [
                "train",
                "--model",
                "segformer-n0",
                "--dataset",
                "vspw",
                "--data",
                "{tmp}/nowhere",
                "--out",
                "{tmp}/w.safetensors",
            ],
            "nowhere",
        ),
        (["check", "--profile", "maxi"], "maxi"),
        (["run", "--refresh", "--profile", "vspw"], "--refresh"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, clips, capsys, arguments, told):
    filled = [a.format(tmp=tmp_path, clip=clips[1] / "data/street/origin") for a in arguments]
    assert cli.main(filled) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and told in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["refines"],
        ["predict", "--model", "cffm-b1", "--data", "x", "y"],
        ["evaluate", "x"],
        ["evaluate", "x", "--truth", "y", "--protocol", "coco"],
    ],
)
def test_usage_errors(arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2


def test_run_hands_parameters_over(monkeypatch, capsys):
    from lib.report import run as runner

    seen = []
    monkeypatch.setattr(
        runner, "run", lambda *arguments, jobs: seen.append((*arguments, jobs)) or ["reports/mini/table1"]
    )
    parameters = {
        "clip": "val_003",
        "n": "3",
        "frac": "0.5",
        "full": "true",
        "models": '["a", "b"]',
        "text": '{"a": 1}',
        "odd": "NaN",
        "none": "null",
    }
    assert (
        cli.main(["run", "--tables", "1", "4", *(x for item in parameters.items() for x in ("-p", *item))])
        == 0
    )
    assert seen == [
        (
            "mini",
            ["1", "4"],
            "",
            {
                "clip": "val_003",
                "n": 3,
                "frac": 0.5,
                "full": True,
                "models": ["a", "b"],
                "text": '{"a": 1}',
                "odd": "NaN",
                "none": None,
            },
            2,
        )
    ]
    assert capsys.readouterr().out == "reports/mini/table1\n"

    def fail(*_, **__):
        raise runner.RunError("1 of 2 notebooks failed:\n01_refiner.ipynb: KeyError: 'x'")

    monkeypatch.setattr(runner, "refresh", fail)
    assert cli.main(["run", "--refresh"]) == 1
    assert "01_refiner.ipynb" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_interrupt_ends_with_130(tmp_path):
    # a background job inherits it ignored
    code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "import lib.commands.evaluate, time\nlib.commands.evaluate.evaluate = lambda *a, **k: (print('ready', flush=True), time.sleep(60))\nfrom lib.__main__ import main\nraise SystemExit(main(['evaluate', 'x', '--truth', 'y']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert (
        process.returncode == 130
        and error == "interrupted: run the same command again to go on with what is left\n"
    )


# ---------------------------------------------------------------- check


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder, with no SAM 2 in it or in the hub's cache, an empty cache, and a machine of
    known rate."""
    import huggingface_hub

    from lib import cost
    from lib.cost.flops import Rate

    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(cost, "calibrate", lambda *_: Rate(1000, 1000, 100, 100, "a rate by decree"))
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "EMBEDDED", tmp_path / "data")
    monkeypatch.setattr(checker, "MICRO_WEIGHTS", tmp_path / "data/mini/weights/micro_sam2.safetensors")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    return tmp_path / "data"


@pytest.mark.parametrize("profile", ["mini", "camvid", "vspw"])
def test_check_says_how_to_get_what_is_missing(data, profile):
    findings = check(profile)
    assert not any(f.there for f in findings) and not can_run(findings)
    assert [f.kind for f in findings][:3] == ["data", "SAM 2", "base model"]
    assert str(data / profile) in findings[0].text and f"profile {profile}: " in findings[0].text
    with pytest.raises(DataMissingError, match=f"profile {profile}: .*{profile}"):
        study.open_study(profile)
    assert len({f.name for f in findings}) == len(findings)
    remedy = {
        "mini": "lib.mini.training.train_sam",
        "camvid": "lib.mini.training.train_sam",
        "vspw": "download('large')",
    }[profile]
    assert remedy in findings[1].text
    assert ("none can be trained" in findings[2].text) == (profile == "camvid")


def test_check_finds_step_by_step(data, clips, capsys, monkeypatch):
    predictions, truth = clips
    data.mkdir()
    (data / "vspw").symlink_to(truth)
    findings = check("vspw")
    assert (
        findings[0].there and "2 clips, 35 frames of split val" in findings[0].text and not can_run(findings)
    )
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: "/cache/large.pt")
    (data / "predictions/vspw").mkdir(parents=True)
    (data / "predictions/vspw/cffm-b1").symlink_to(predictions)
    findings = check("vspw")
    assert can_run(findings) and [f.name for f in findings if f.there] == ["vspw", "large", "cffm-b1"]
    assert can_run(check("vspw", truth))  # the user's own folder
    assert cli.main(["check", "--profile", "vspw"]) == 0
    out = capsys.readouterr().out
    assert (
        "there    base model cffm-b1" in out
        and "MISSING  base model segformer-b0: neither" in out
        and "python -m lib run --profile vspw" in out
    )
    write_labels(predictions / "street" / "00000099.png", np.zeros((13, 17), np.uint8))
    assert cli.main(["check", "--profile", "vspw"]) == 1
    assert "MISSING  base model cffm-b1" in (out := capsys.readouterr().out) and "00000099" in out


def test_check_says_what_to_expect_where_the_data_are(data, clips, capsys):
    """Without SAM 2 and base models too: what a run would cost helps to decide whether to fetch them."""
    assert cli.main(["check", "--profile", "vspw"]) == 1 and "What to expect" not in capsys.readouterr().out
    data.mkdir()
    (data / "vspw").symlink_to(clips[1])
    assert cli.main(["check", "--profile", "vspw"]) == 1
    found = capsys.readouterr().out.partition("\nWhat to expect:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.partition(":")[0] for line in found] == ["  frames", "  masklets", "  time", "  memory"]
    assert (
        found[0] == "  frames: 35 in 2 clips of 13x17"
        and "assumed" in found[1]
        and "estimated" in found[2]
        and "a rate by decree" in found[2]
        and "GB" in found[3]
    )


def test_check_agrees_with_the_study_on_where_weights_lie(data, clips, monkeypatch):

    data.mkdir()
    (data / "mini").symlink_to(clips[1])
    opened = study.open_study("mini", "")
    with pytest.raises(study.NotRun):
        study.predictions_of(opened, "segformer-n0")
    assert not any(f.there for f in check("mini") if f.kind == "base model")
    (data / "mini/weights").mkdir()
    (data / "mini/weights/segformer-n0.safetensors").write_text("")
    assert [f.name for f in check("mini") if f.there] == ["vspw", "segformer-n0"]
    # found, and told that it is empty
    with pytest.raises((ValueError, DataMissingError), match="segformer-n0.safetensors"):
        study.predictions_of(opened, "segformer-n0")
