"""Base segmentors: build one by name, load its weights.

models.py     build one by name, load its weights
weights.py    files of weights, read safely and filled in strictly
mit.py        MiT, the backbone of all
segformer.py  the MLP decoder that every head contains, and SegFormer, the per-frame model
cffm.py       CFFM: the target attends to ever coarser maps of itself and of three earlier frames
mrcfa.py      MRCFA: the target gathers the tokens of three earlier frames that matter most to it
tv3s.py       TV3S: state space models read each window through time
panoptic/     DVIS, DVIS++ and CAVIS, the video panoptic models of Table 2
predict.py    the one predict loop
crops.py      what a training sees
train.py      the one trainer, behind `python -m lib train`
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["panoptic", "predict", "train"],
    submod_attrs={
        "models": ["MODELS", "build", "known", "load", "names", "semantic_names", "start_from"],
        "weights": ["ARRAYS", "UNUSED", "fill", "read_weights"],
    },
)
