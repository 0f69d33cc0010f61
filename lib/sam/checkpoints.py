"""The checkpoints of SAM 2: the official ones by plain names, and the embedded micro one. Needs no torch,
which takes seconds to load."""

from pathlib import Path

from ..clips.errors import DataMissingError, problem
from ..paths import EMBEDDED

MICRO_WEIGHTS = EMBEDDED / "mini" / "weights" / "micro_sam2.safetensors"

# plain name -> (configuration inside sam2, repository on the hub, file there); SAM 2.1 unless the name says
# 2.0
OFFICIAL = {
    name: (
        f"configs/sam{version}/sam{version}_hiera_{short}.yaml",
        f"facebook/sam{version}-hiera-{size}",
        f"sam{version}_hiera_{size.replace('-', '_')}.pt",
    )
    for version, prefix in (("2.1", ""), ("2", "sam2.0-"))
    for size, short in (("tiny", "t"), ("small", "s"), ("base-plus", "b+"), ("large", "l"))
    for name in [prefix + size]
}


def default_checkpoint(on_gpu: bool) -> str:
    """Name the SAM 2 for frames of which nothing is known: an official one, as large as the machine bears."""
    return "large" if on_gpu else "tiny"


def is_micro(checkpoint: str | Path) -> bool:
    """Say whether a checkpoint's name or path is that of a micro SAM 2, the only kind kept as safetensors."""
    return str(checkpoint) == "micro" or Path(checkpoint).suffix == ".safetensors"


def weights_of(checkpoint: str | Path) -> Path:
    """Return the file behind a checkpoint's name or path, fetching an official one if need be."""
    if str(checkpoint) in OFFICIAL:
        return download(str(checkpoint))
    path = MICRO_WEIGHTS if str(checkpoint) == "micro" else Path(checkpoint)
    if not path.is_file():
        raise problem(
            DataMissingError,
            path,
            expected=f"a SAM 2 checkpoint file, or one of micro, {', '.join(OFFICIAL)}",
            found="no such file",
            remedy="Check the path, or use a name.",
        )
    return path


def download(name: str) -> Path:
    """Fetch an official checkpoint into huggingface_hub's cache, or find it there, and return its path."""
    from huggingface_hub import hf_hub_download

    _, repository, file = OFFICIAL[name]
    try:
        return Path(hf_hub_download(repository, file))
    except Exception as error:  # the hub's own errors, and those of whichever HTTP library it uses
        raise problem(
            DataMissingError,
            file,
            expected=f"the weights of SAM 2 {name} in the hub's cache or at https://huggingface.co/{repository}",
            found=f"none: they are not in the cache, and the hub cannot be reached ({type(error).__name__})",
            remedy=f"Fetch {file} on another machine and pass --checkpoint PATH/{file}; "
            "for drawn clips, --checkpoint micro needs no download.",
        ) from error
