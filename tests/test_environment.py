"""One list of pins: requirements.txt, environment.yml and the Makefile cannot drift apart, and the pinned
torch pair works."""

import os
import re
import shutil
import subprocess
from importlib.metadata import version

import pytest
import yaml

from lib.paths import ROOT

REQUIREMENTS = (ROOT / "requirements.txt").read_text()
SAM2 = (ROOT / "requirements-sam2.txt").read_text()
CONDA = (ROOT / "environment.yml").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def pins(text):
    """The requirement lines of a pip file, without comments."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_every_requirement_is_pinned_exactly_and_once():
    lines = pins(REQUIREMENTS) + pins(SAM2)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line) for line in lines)
    names = [line.split("==")[0].lower() for line in lines]
    assert len(set(names)) == len(names)


def test_conda_carries_the_pins_of_pip():
    dependencies = yaml.safe_load(CONDA)["dependencies"]
    (from_pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    assert from_pip == pins(REQUIREMENTS)
    assert "python=3.11" in dependencies


def test_sam2_is_pinned_in_one_file_that_both_ways_install():
    assert len(pins(SAM2)) == 1 and pins(SAM2)[0].startswith("sam2==")
    for text in (MAKEFILE, CONDA):
        assert (
            "SAM2_BUILD_CUDA=0" in text and "--no-build-isolation --no-deps -r requirements-sam2.txt" in text
        )
        assert "sam2==" not in text


def test_commit_hooks_run_what_lint_runs():
    """From the environment and its pinned versions, nothing fetched; .ci/run lints too."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    lint = MAKEFILE.split("\nlint:")[1].split("\n\n")[0]
    for hook in repository["hooks"]:
        command = re.fullmatch(
            r"\.venv/bin/python -m (ruff format|ruff check|pytest .*?)( --f.*)?", hook["entry"]
        )
        assert hook["language"] == "system" and command and f"-m {command[1]}" in lint
    assert "make lint" in (ROOT / ".ci/run").read_text()


def test_citation_names_the_paper_and_the_software():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    assert citation["license"] == "Apache-2.0" and paper["title"] in (ROOT / "README.md").read_text()
    assert f'version = "{citation["version"]}"' in (ROOT / "pyproject.toml").read_text()
    assert len(paper["authors"]) == 7 and paper["authors"][0]["family-names"] == "Syed Hesham"


def test_installed_versions_are_the_pinned_ones():
    for line in pins(REQUIREMENTS) + pins(SAM2):
        name, pinned = line.split("==")
        found = version(name).split("+")[0]  # a build label such as +cpu may follow
        assert found == pinned, f"{name} {found} is installed, {pinned} is pinned: run `make env`"


def test_torch_and_torchvision_are_a_working_pair():
    import torch
    import torchvision

    for module in (torch, torchvision):
        assert f"{module.__name__}=={module.__version__.split('+')[0]}" in pins(REQUIREMENTS)
    # An ill-matched pair fails here: "operator torchvision::nms does not exist". The second box repeats the
    # first.
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0], [8.0, 8.0, 9.0, 9.0]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.7).tolist() == [1, 2]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_reports_hands_on_its_settings():
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("MAKEFLAGS", "PROFILE", "TABLES", "DATA")
    }

    def plan(*arguments):
        command = ["make", "--dry-run", "--no-print-directory", "reports", *arguments]
        return (
            subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
            .stdout.splitlines()[-1]
            .rstrip()
        )

    assert plan().endswith("-m lib run --profile mini")
    wanted = '-m lib run --profile camvid --tables 1 4 --data "/big disk/camvid"'
    assert plan("PROFILE=camvid", "TABLES=1 4", "DATA=/big disk/camvid").endswith(wanted)
