"""Where things are. Every path of the project derives from this file. What the repository carries stays where
it is; where the user's data, the reports and the cache are, an environment variable can say."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "data"  # clips, weights and the paper's numbers that are part of the repository
DATA = Path(os.environ.get("SAM2VSS_DATA") or EMBEDDED)  # the user's data sets, weights and predictions
REPORTS = Path(os.environ.get("SAM2VSS_REPORTS") or ROOT / "reports")
CACHE = Path(os.environ.get("SAM2VSS_CACHE") or ROOT / ".cache")  # recomputable; safe to delete
