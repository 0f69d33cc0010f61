"""Benchmarks: ours against stock sam2 and naive loops. Each module is a command that prints a table and
writes JSON into results/:

    tracking    ours against stock sam2, its predictor of today and its batched one of before
    ablations   all settings of the paper's ablations cut together, against the default alone and against one
    run after another voting      vote + paint and the metrics, against loops predicting  the predict loop of
    the base models, against one call per target memory      peak memory against the length of the clip and
    the number of objects peak        the share of the machine's peak that tracking reaches

    common      what they share: timing, the machine, output, what is tracked

`python -m benchmarks` prints all results as Markdown. To be run from the root of the repository.
"""
