"""Where things are. Every path of the project derives from this file; each can be moved by an environment
variable."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SAM2VSS_DATA", ROOT / "data"))
REPORTS = Path(os.environ.get("SAM2VSS_REPORTS", ROOT / "reports"))
CACHE = Path(os.environ.get("SAM2VSS_CACHE", ROOT / ".cache"))  # recomputable; safe to delete
