"""A small classifier of vectors: an MLP with one hidden layer, fitted with held-out clips, and its file."""

import csv
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import nn

from .clips.errors import DataError, DataMissingError, problem
from .config import NO_CLASS, ClassifierConfig, from_dict
from .files import replacing

LOG = ("epoch", "train_loss", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier: vectors of `dim` numbers to one of `n_classes` classes."""

    network: nn.Module  # on standardised vectors
    mean: torch.Tensor  # (dim,) of the training vectors
    std: torch.Tensor  # (dim,)
    config: ClassifierConfig
    about: dict[str, str] = field(default_factory=dict)  # what it was fitted on, and how well
    log: tuple[dict[str, float], ...] = ()  # LOG of each epoch, of a classifier just fitted

    @property
    def dim(self) -> int:
        return len(self.mean)

    @property
    def n_classes(self) -> int:
        return self.network[-1].out_features

    @torch.inference_mode()
    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Classify (N, dim) float vectors: (N,) int64, `NO_CLASS` for a vector that holds NaN."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ValueError(f"Expected `vectors` to be (N, {self.dim}), but got {vectors.shape}.")
        x = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
        classes = self.network((x - self.mean) / self.std).argmax(1).numpy()
        return np.where(np.isnan(vectors).any(1), NO_CLASS, classes)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file with its configuration and `about` as metadata, and the log beside it
        as CSV."""
        with replacing(Path(path).with_suffix(".csv")) as part, open(part, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [LOG, *((line["epoch"], *(f"{line[k]:.4f}" for k in LOG[1:])) for line in self.log)]
            )
        tensors = {**self.network.state_dict(), "mean": self.mean, "std": self.std}
        with replacing(path) as part:
            part.write_bytes(
                to_safetensors(
                    tensors, {"config": json.dumps(asdict(self.config)), "about": json.dumps(self.about)}
                )
            )


def load(path: str | Path) -> Classifier:
    """Read a file written by `Classifier.save`.

    Raises:
        DataMissingError: no such file.  DataError: not a classifier of this library.
    """
    path, remedy = Path(path), "Fit it again with `python -m lib fit`."
    if not path.is_file():
        raise problem(DataMissingError, path, expected="a classifier", found="no such file", remedy=remedy)
    try:
        with safe_open(path, "pt") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
        config = from_dict(ClassifierConfig, json.loads(metadata["config"]))
        mean, std = tensors.pop("mean"), tensors.pop("std")
        network = _network(len(mean), len(tensors["3.bias"]), config)
        network.load_state_dict(tensors)
        return Classifier(network.eval(), mean, std, config, json.loads(metadata["about"]))
    except (SafetensorError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise problem(
            DataError,
            path,
            expected="a classifier written by this library",
            found=f"another file ({type(error).__name__}: {error})",
            remedy=remedy,
        ) from error


def fit(
    vectors: np.ndarray,
    labels: np.ndarray,
    clips: np.ndarray,
    n_classes: int,
    config: ClassifierConfig = ClassifierConfig(),
) -> Classifier:
    """Fit a classifier; keep the epoch of the lowest loss on clips that were held out. Equal input gives
    equal weights.

    Args:
        vectors: (N, dim) float, without NaN.
        labels: (N,) int, 0..n_classes-1.
        clips: (N,) the clip that each vector is of. Whole clips are held out: vectors of one clip are too
            much alike.
        n_classes: number of classes.
        config: settings.

    Returns:
        The classifier; its `about` counts vectors and clips and holds the accuracies of the kept epoch, its
        `log` has a line for each epoch.

    Raises:
        ValueError: shapes that do not fit, NaN, a label that is no class, fewer than two clips.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> vectors = rng.normal(size=(80, 4)).astype(np.float32)
        >>> labels, clips = (vectors[:, 0] > 0).astype(np.int64), np.arange(80) % 8
        >>> classifier = fit(vectors, labels, clips, 2, ClassifierConfig(hidden=8, lr=0.05, epochs=60))
        >>> bool((classifier.predict(vectors) == labels).mean() > 0.8)
        True
    """
    _check(vectors, labels, clips, n_classes)
    # hold whole clips out
    names = np.random.default_rng(config.seed).permutation(np.unique(clips))
    held_out = np.isin(clips, names[: min(len(names) - 1, max(1, round(config.val_frac * len(names))))])
    # standardise by the training vectors
    mean, std = vectors[~held_out].mean(0), vectors[~held_out].std(0)
    mean = torch.from_numpy(mean.astype(np.float32))
    std = torch.from_numpy(np.where(std > 0, std, 1).astype(np.float32))
    x = (torch.from_numpy(np.ascontiguousarray(vectors, np.float32)) - mean) / std
    y = torch.from_numpy(labels.astype(np.int64))
    train, val = (x[~held_out], y[~held_out]), (x[held_out], y[held_out])
    # fit; the seed decides first weights, dropout and order, and leaves the caller's random numbers alone
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = _network(x.shape[1], n_classes, config)
        log, best = _descend(network, train, val, _weights(train[1], n_classes, config.class_balance), config)
    accuracy = {
        name: float((network(part[0]).argmax(1) == part[1]).float().mean())
        for name, part in (("train", train), ("val", val))
    }
    about = {
        "epoch": best,
        "train_accuracy": round(accuracy["train"], 6),
        "val_accuracy": round(accuracy["val"], 6),
        "train_vectors": len(train[1]),
        "val_vectors": len(val[1]),
        "clips": len(names),
        "val_clips": len(np.unique(clips[held_out])),
    }
    return Classifier(
        network, mean, std, config, {name: str(value) for name, value in about.items()}, tuple(log)
    )


def _descend(network, train, val, weights, config) -> tuple[list[dict], int]:
    """Take epochs until the loss on `val` has not fallen for `patience` of them; leave the network as in
    the best, in evaluation mode."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    loss_of = lambda x, y: F.cross_entropy(network(x), y, weights)
    log, best = [], {"val_loss": float("inf")}
    for epoch in range(1, config.epochs + 1):
        network.train()
        losses = []
        for batch in torch.randperm(len(train[1])).split(config.batch):
            loss = loss_of(train[0][batch], train[1][batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item() * len(batch))
        network.eval()
        with torch.no_grad():
            accuracy = (network(val[0]).argmax(1) == val[1]).float().mean().item()
            line = dict(
                zip(LOG, (epoch, sum(losses) / len(train[1]), loss_of(*val).item(), accuracy), strict=True)
            )
        log.append(line)
        if line["val_loss"] < best["val_loss"]:
            best, kept = line, {name: value.clone() for name, value in network.state_dict().items()}
        if epoch - best["epoch"] >= config.patience:
            break
    network.load_state_dict(kept)
    return log, best["epoch"]


def _network(dim: int, n_classes: int, config: ClassifierConfig) -> nn.Sequential:
    """Build the MLP with fresh weights."""
    return nn.Sequential(
        nn.Linear(dim, config.hidden),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.hidden, n_classes),
    )


def _weights(labels: torch.Tensor, n_classes: int, balance: str) -> torch.Tensor | None:
    """Weigh classes in the loss so that the mean vector weighs 1; a class that never occurs weighs 1."""
    if balance == "none":
        return None
    counts = torch.bincount(labels, minlength=n_classes).float()
    weights = counts.clamp(min=1) ** -0.5
    return torch.where(counts > 0, weights * len(labels) / (weights * counts).sum(), 1.0)


def _check(vectors, labels, clips, n_classes) -> None:
    """Refuse what cannot be fitted."""
    if vectors.ndim != 2 or labels.shape != (len(vectors),) or clips.shape != (len(vectors),):
        raise ValueError(
            f"Expected (N, dim) vectors with (N,) labels and clips, but got {vectors.shape}, {labels.shape} and {clips.shape}."
        )
    if np.isnan(vectors).any():
        raise ValueError(
            f"Expected vectors without NaN, but {int(np.isnan(vectors).any(1).sum())} have it: leave masks without area out."
        )
    if len(np.unique(clips)) < 2:
        raise ValueError(
            f"Expected vectors of two clips or more, one to hold out, but got {len(np.unique(clips))}."
        )
    if not ((labels >= 0) & (labels < n_classes)).all():
        raise ValueError(f"Expected labels in 0..{n_classes - 1}, but got {labels.min()}..{labels.max()}.")
