"""Build a base segmentor by name, and load its weights."""

from . import panoptic
from .cffm import CFFM
from .mrcfa import MRCFA
from .segformer import SegFormer
from .tv3s import TV3S
from .weights import fill, read_weights

# each is called with (width, n_classes, **options)
MODELS = {"segformer": SegFormer, "cffm": CFFM, "mrcfa": MRCFA, "tv3s": TV3S}


def semantic_names():
    """List the names of the models that give each pixel a class by themselves: those that `train` is for."""
    return tuple(f"{model}-{width}" for model, kind in MODELS.items() for width in kind.widths)


def names():
    """List the names that `build` knows."""
    return semantic_names() + panoptic.names()


def known(name):
    """Return the name of a semantic model, or raise ValueError."""
    if name not in semantic_names():
        raise ValueError(f"Expected `name` to be one of {', '.join(names())}, but got {name!r}.")
    return name


def build(name, n_classes=124, **options):
    """Build a base segmentor with fresh weights.

    Args:
        name: model and MiT width, as in "segformer-b1"; `names()` lists them.
        n_classes: number of classes, 1..255.
        options: passed to the model (`drop_path`; `queries` of a panoptic model).

    Returns:
        nn.Module with children `backbone` and `decode_head`, named within as in released checkpoints, and
        attribute `scale` (see `predict`); or a `panoptic.VideoPanoptic`.

    Raises:
        ValueError: for an unknown name or number of classes.
    """
    if name in panoptic.names():
        return panoptic.build(name, n_classes=n_classes, **options)
    model, _, width = known(name).partition("-")
    if not 1 <= n_classes <= 255:
        raise ValueError(f"Expected `n_classes` to be in 1..255, but got {n_classes}.")
    return MODELS[model](width, n_classes, **options)


def load(name, path):
    """Build a base segmentor and load its weights; the file says how many classes there are.

    Args:
        name: see `build`.
        path: .safetensors, or a released .pth checkpoint.

    Returns:
        The model on the CPU, float32, in evaluation mode.

    Raises:
        ValueError: for an unknown name.
        DataMissingError, DataError: see `read_weights` and `fill`.
    """
    if name in panoptic.names():
        return panoptic.load(name, path)
    known(name)
    state = read_weights(path)
    classifier = state.get("decode_head.linear_pred.bias")
    model = build(name) if classifier is None else build(name, len(classifier))
    fill(model, state, path, name)
    return model.eval()


def start_from(model, path):
    """Load a MiT alone, as trained on ImageNet, or a per-frame model into the parts that a model has in
    common with it.

    A MiT's classifier `head.*` is dropped. Of a model, its backbone and its MLP decoder must fit; what else
    `model` has keeps its fresh weights.

    Raises:
        DataMissingError, DataError: see `read_weights` and `fill`.
    """
    state = read_weights(path)
    if any(key.startswith("decode_head.") for key in state):
        shared = (
            "backbone.",
            *(
                f"decode_head.{part}."
                for part in ("linear_c1", "linear_c2", "linear_c3", "linear_c4", "linear_fuse", "linear_pred")
            ),
        )
        own = {key: value for key, value in model.state_dict().items() if not key.startswith(shared)}
        fill(model, {**own, **state}, path, f"a per-frame model of the width of this {type(model).__name__}")
        return
    state = {
        key.removeprefix("backbone."): value for key, value in state.items() if not key.startswith("head.")
    }
    fill(model.backbone, state, path, "the model's MiT")
