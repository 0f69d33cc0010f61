"""A profile with its data at hand: its masklets, predictions, features and scores, cached so that nothing
is computed twice.

    run = study.open_study("mini")
    study.predictions_of(run, "cffm-n0")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "study": ["NotRun", "Study", "find_clip", "open_study"],
        "profiles": ["PROFILES", "Profile"],
        "segment": ["masklet_paths", "masklets_of", "read_masklets", "segment_clips"],
        "predictions": ["example", "predictions_of"],
        "scores": ["ballots", "compare", "score"],
    },
)
