"""SAM 2 for video semantic segmentation: a refiner for any segmentor, a segmentor of its own, and the study.

    import lib

    (clip,) = lib.read_frames("frames")                       # a folder of pictures, or a video
    masklets = lib.segment(lib.load_sam("micro"), clip)       # SAM 2: propose, select, track
    refined = lib.refine_clip(predictions, masklets)          # your labels, (H, W) uint8 a frame
    counts = lib.count_clip(clip.name, truths, refined, n_classes)
    lib.summarise([counts])                                   # {"mIoU": ..., "mVC8": ...}

The map, in the order of the pipeline; a file imports only from what stands above it, except that plots/ and
report/ serve tables, cost and claims:

    config, text, paths, files, progress, workers   settings; how numbers are written; where things are; files; cores

    The method, which knows no profile, table, cache or figure:
    clips/        frames, labels and predictions from disk, one picture at a time
    masklets      masklets and their file (SA-V's JSON)
    segmentors/   base models: networks, prediction, training
    sam/          SAM 2, frames -> masklets: checkpoints, models, propose, track, segment
    refiner       predictions + masklets -> refined predictions (paper Eq. 1-2)
    isam2         masklets + image features -> predictions (Eq. 3); classifier is its MLP
    metrics       mIoU, weighted IoU, mBIoU, mVC (Eq. 4-6; its windows: consistency); intervals: over clips
    boundary      accuracy by distance to the true boundary

    The study:
    mini/         the embedded profile: rendered clips, the micro SAM 2 and its training
    study/        a profile with its data at hand, and the cache
    report/       results -> CSV, Markdown, PNG, pages; runs the notebooks
    plots/        results and clips -> figures
    tables/       the paper's tables 1-7, measured (notebooks 01-07)
    cost/         what SAM 2 computes, and what a run will take (notebook 08)
    claims/       the paper's claims against what was measured (notebook 09)
    commands/     python -m lib COMMAND

Glossary:
    clip          one video: frames in order, and labels where there are any
    frame         one picture of a clip, (H, W, 3) uint8 RGB
    label map     a class id for each pixel, (H, W) uint8: a truth, or a prediction
    void          255. In a truth: not judged. In a prediction: no class
    segmentor     a model that predicts label maps (SegFormer, CFFM, ...); "base" when SAM 2 refines it
    click grid    16 x 16 points on a frame; SAM 2 proposes three masks for each
    candidate     a proposed mask that passes the thresholds; `select` keeps the best of those that overlap
    masklet       one object's masks over the frames of a window, as SAM 2 tracks it
    window        the frames (32) from one proposal to the next; masklets live within one
    vote          the class of most pixels of a mask in the base prediction, void not counted
    overlap       a pixel in several masks; the smallest of them wins
    refine        paint every mask with its vote, the base prediction elsewhere
    score         a metric in percent; its interval is over whole clips (jackknife)
    profile       a data set with its models and settings: mini, vspw, camvid, ...
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clips": ["Clip", "read_frames"],
        "sam.models": ["load_sam"],
        "sam.segment": ["segment"],
        "refiner": ["refine_clip", "refine_frame"],
        "metrics": ["count_clip", "summarise"],
    },
)
