"""The models' own order of VIPSeg's classes: things first, then stuff, each ascending."""

import numpy as np

from .config import N_CLASSES

_THINGS = (
    *(2, 4, 8, 10, 41, 43, 44),
    *range(46, 53),
    *range(54, 57),
    *range(60, 66),
    72,
    74,
    *range(76, 80),
    *range(82, 93),
    *(95, 96, 97),
    *range(99, 103),
    *range(106, 110),
    *range(114, 119),
    122,
    123,
)
N_THINGS = len(_THINGS)  # the models' classes below this are things, the others stuff
CLASS_IDS = np.array(
    [*_THINGS, *(c for c in range(N_CLASSES) if c not in _THINGS)], np.uint8
)  # VIPSeg's and VSPW's id of a model's class
CLASS_IDS.setflags(write=False)
MODEL_CLASSES = np.argsort(CLASS_IDS)  # and back
