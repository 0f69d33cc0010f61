"""SAM 2: checkpoints, models, proposals, tracking. The only folder that imports sam2."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoints": ["OFFICIAL", "download", "weights_of"],
        "models": ["default_device", "has_gpu", "load", "micro", "official"],
    },
)
