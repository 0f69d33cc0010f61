"""The base models' predict loop: what it saves to prepare each frame once though four targets look at it,
and what part of a model is its head.

    python -m benchmarks.predicting --models cffm-b0 mrcfa-b0 tv3s-b1
"""

import numpy as np
import torch

from benchmarks.common import alternate, drawn, faster, finish, parse, parser, spread
from lib import segmentors
from lib.segmentors.predict import normalise, predict_frames, references, to_labels, to_network_size


def plain(model, clip, bf16):
    """Predict every frame by a call of its own, as the authors' test does: each frame goes through the
    backbone for each target that looks at it."""
    device, labels = next(model.parameters()).device, []
    with torch.inference_mode():
        for t in range(len(clip)):
            seen = np.stack(
                [to_network_size(clip.image(i), model.scale) for i in references(t, model.n_frames)]
            )
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                logits = model(normalise(seen, device))
            labels.append(to_labels(logits, seen.shape[1:3], clip.size)[0].cpu().numpy())
    return np.stack(labels)


def main(arguments=None):
    options = parser(__doc__, rounds=3)
    options.add_argument("--models", nargs="+", default=["cffm-n1", "mrcfa-n1", "tv3s-n1"])
    options.add_argument("--frames", type=int, default=16)
    options.add_argument("--batch", type=int, default=4, help="frames at a time, in the loop")
    options.add_argument("--bf16", action="store_true")
    options = parse(options, "predicting", arguments)
    clip, lines = drawn(options.frames), []
    images = [clip.image(t) for t in range(len(clip))]
    for name in options.models:
        torch.manual_seed(0)
        model = segmentors.build(name).to(options.device).eval()
        shown = normalise(np.stack([to_network_size(image, model.scale) for image in images]), options.device)

        @torch.inference_mode()
        def backbone(model=model, shown=shown):
            with torch.autocast(options.device, torch.bfloat16, enabled=options.bf16):
                return [model.backbone(batch)[-1] for batch in shown.split(options.batch)]

        labels, times = alternate(
            {
                "one call per target": lambda: plain(model, clip, options.bf16),
                "each frame once": lambda: predict_frames(
                    model, images, batch=options.batch, bf16=options.bf16
                ),
                "backbone alone": backbone,
            },
            options.rounds,
            options.device,
        )
        agree = float((labels["one call per target"] == labels["each frame once"]).mean())
        for who, taken in times.items():
            lines.append(
                {
                    "model": name,
                    "precision": "bf16" if options.bf16 else "fp32",
                    "who": who,
                    **spread(taken),
                    "frames_per_s": len(clip) / float(np.median(taken)),
                    "times_faster": faster(taken, times["one call per target"])
                    if who != "backbone alone"
                    else None,
                    "pixels_agree": agree if who == "each frame once" else None,
                }
            )
    notes = [
        f"{options.frames} frames of {clip.size[0]}x{clip.size[1]} pixels, batches of {options.batch}; random weights, which take as long as trained ones; {options.rounds} alternating rounds, medians.",
        "The backbone alone, once per frame, is part of both; what the loop takes beyond it are the head, resizing and the argmax.",
    ]
    return finish("predicting", options, lines, notes)


if __name__ == "__main__":
    main()
