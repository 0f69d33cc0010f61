"""SAM2VSS_DATA says where the user's data are; what is embedded stays in the repository whatever it says."""

import json
import os
import subprocess
import sys

import pytest

from lib.paths import ROOT

OPENS_ALL = """
import json
from lib import paths, sam, study
from lib.study.predictions import weights_file
from lib.tables.paper import read_paper_table
opened = study.open_study("mini")
files = [weights_file(opened.profile, name) for name, *_ in opened.profile.models]
print(json.dumps({
    "data": str(paths.DATA),
    "clips": [clip.name for clip in opened.dataset.clips],
    "pixels": opened.dataset.clips[0].image(0).shape,
    "weights": [file.is_file() for file in files],
    "paper": [len(read_paper_table(n)) for n in range(1, 8)],
    "micro": sam.load("micro", "cpu").image_size,
    "user": str(study.PROFILES["vspw"].home),
}))
"""


def python(*arguments, **variables):
    """Run Python in the repository, with environment variables of its own."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture
def elsewhere(tmp_path):
    """An empty folder of the user's data, and a cache of its own."""
    (tmp_path / "my data").mkdir()
    return {"SAM2VSS_DATA": str(tmp_path / "my data"), "SAM2VSS_CACHE": str(tmp_path / "cache")}


def test_what_is_embedded_is_found_with_an_empty_data_folder(elsewhere):
    done = python("-c", OPENS_ALL, **elsewhere)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["data"] == elsewhere["SAM2VSS_DATA"]
    assert found["clips"] == [f"val_{i:03d}" for i in range(10)] and found["pixels"] == [240, 427, 3]
    assert found["weights"] == [True] * 5
    assert min(found["paper"]) > 0 and found["micro"] == 256
    assert found["user"] == os.path.join(elsewhere["SAM2VSS_DATA"], "vspw")
    assert not os.listdir(elsewhere["SAM2VSS_DATA"]), "nothing is written there"


def test_check_finds_mini_whole_with_an_empty_data_folder(elsewhere):
    done = python("-m", "lib", "check", **elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MISSING" not in done.stdout and done.stdout.count("there  ") == 7
    missing = python("-m", "lib", "check", "--profile", "vspw", **elsewhere)
    assert missing.returncode == 1 and os.path.join(elsewhere["SAM2VSS_DATA"], "vspw") in missing.stdout


def test_an_empty_variable_is_one_that_is_not_set(tmp_path):
    names = ("SAM2VSS_DATA", "SAM2VSS_REPORTS", "SAM2VSS_CACHE")
    asks = "from lib.paths import *; print(DATA == EMBEDDED, REPORTS == ROOT / 'reports', CACHE == ROOT / '.cache')"
    assert python("-c", asks, **dict.fromkeys(names, "")).stdout.split() == ["True"] * 3
