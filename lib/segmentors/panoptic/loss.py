"""The set loss of Mask2Former, for frames and for whole clips: each object is learned by the one query that
suits it best.
"""

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

CLASS, MASK, DICE = 2.0, 5.0, 5.0  # weights of the three terms, in matching and in the loss
NO_OBJECT = 0.1  # weight of a query without object in the class term


def set_loss(
    logits: torch.Tensor, masks: torch.Tensor, classes: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Match queries to objects and return the loss, and the query of each object (K,) int64.

    Args:
        logits: (Q, n_classes + 1).
        masks: (Q, L) mask logits: of a frame's cells, or of all frames' of a clip, so that a query must keep
            its object.
        classes: (K,) int64, K <= Q.
        targets: (K, L) in 0..1.
    """
    query = match(logits.detach(), masks.detach(), classes, targets)
    wanted = torch.full((len(logits),), logits.shape[1] - 1, device=logits.device)
    wanted[query] = classes
    weights = torch.ones(logits.shape[1], device=logits.device)
    weights[-1] = NO_OBJECT
    loss = CLASS * F.cross_entropy(logits, wanted, weights)
    if len(classes):
        chosen = masks[query]
        loss = loss + MASK * F.binary_cross_entropy_with_logits(chosen, targets)
        loss = loss + DICE * dice(chosen.sigmoid()[:, None], targets[:, None]).mean()
    return loss, query


def match(logits, masks, classes, targets) -> torch.Tensor:
    """Return for each object the query that costs least in all, (K,) int64."""
    right = -logits.softmax(1)[:, classes]
    cross = (F.softplus(-masks) @ targets.T + F.softplus(masks) @ (1 - targets).T) / masks.shape[1]
    overlap = dice(masks.sigmoid()[:, None], targets[None])
    cost = (CLASS * right + MASK * cross + DICE * overlap).cpu().numpy()
    query, of = linear_sum_assignment(cost)
    order = torch.empty(len(classes), dtype=torch.int64)
    order[torch.from_numpy(of)] = torch.from_numpy(query)
    return order.to(logits.device)


def dice(p: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - Dice coefficient over the last dimension, smoothed by one cell; (A, B) of p (A or 1.., L) and
    target broadcast.
    """
    both = torch.einsum("abl,abl->ab", *torch.broadcast_tensors(p, target))
    return 1 - (2 * both + 1) / (p.sum(-1) + target.sum(-1) + 1)


def same_loss(
    first: torch.Tensor, second: torch.Tensor, pairs: torch.Tensor, sharpness: float = 10.0
) -> torch.Tensor:
    """Let the embeddings of two frames, (Q, C) each, be most alike where `pairs` (K, 2) says that they show
    the same object.
    """
    likeness = sharpness * F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    forth = F.cross_entropy(likeness[pairs[:, 0]], pairs[:, 1])
    return (forth + F.cross_entropy(likeness.T[pairs[:, 1]], pairs[:, 0])) / 2
