"""SAM 2 for video semantic segmentation: the library under the notebooks. A map, from the data up:

paths, config     where things are; settings and profiles
files, panoptic   one file on disk becomes one array, or one clear error
reading           frames from files one at a time, or kept once read
data              Clip and the readers: VSPW, VIPSeg, CamVid, plain folders, videos; prediction folders
checkpoints, sam  where SAM 2's checkpoints are; load SAM 2 models
tracker           frames -> masklets: propose, select, track
pixels            frames and masks on their way into SAM 2 and out of it
masklets          Masklets and their file
encoders          the image features and the proposals that I-SAM2 works on
isam2, classifier masklets + image features -> classes (paper Eq. 3): SAM 2 as segmentor, and its MLP
fit               the classifiers of a study: fitted, found, applied
refiner           masklets + predictions -> refined predictions (paper Eq. 1-2)
metrics           mIoU, weighted IoU, mBIoU, mVC, under both protocols
bootstrap         intervals of the scores and of paired changes, over clips; Holm's correction
boundary          accuracy by distance to the true boundary
segmentors/       base models and their predict loop and trainer
mini/             the embedded profile: scene renderer, trainer of the micro SAM 2, its quality
evaluate, refine  the work behind `python -m lib evaluate` and `python -m lib refine`
study             a profile with its data at hand: masklets, predictions, scores; owns the cache
flops, cost       what SAM 2 computes; what a run will take
tables            which rows a table has, and what is measured for each
paper             the paper's printed numbers
inconsistencies   where they disagree with one another or with the paper's words
readings          where the paper leaves room, and what is done here
report, plots     table -> CSV and Markdown; table or clip -> figure
page              all reports of a profile as one web page
provenance        what a result came from
notebooks, run    notebooks as files; executes them into reports/
check, progress   what a profile needs and what of it is there; the one progress bar
"""
