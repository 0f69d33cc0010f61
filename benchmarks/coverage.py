"""How often 95 % intervals of a paired change hold the true change, by simulation.

    python -m benchmarks.coverage

A population is made of the clips of the mini profile, measured before and after: refined against base, Table 1, by
base model; I-SAM2 against the base model that fills it, Table 3. Its true change is that of all its clips together. From it n clips are drawn again and again, with replacement, and each time every
contestant gives a 95 % interval of the change: it covers if it holds the population's. "Holds falsely" is how often
its lower bound lies above that: the intervals move with the data, so this is how often a score would be said to
rise if every clip's change were shifted so that the true one is zero; "fails falsely" is the other side. A 95 %
interval should cover 95 %, with 2.5 % on either side.

Ten clips are few for a population: each is a tenth of it, and where one of them carries the change, most small
samples lack it, which no interval can know. So there are two kinds. "Mixed": the clips of Table 1 under all base
models, one population of fifty, no clip more than a fiftieth; how far each model gains from refinement differs as
it does between scenes. "Single": each table and model by itself, as a harder case.

The contestants: ours, as `lib.intervals.interval` makes it; Student's t on the jackknife alone; Hall's correction of
it for skewness alone, of which ours takes the farther bound on each side; the percentile bootstrap over clips; BCa
(Efron 1987); the studentised bootstrap, with the jackknife's standard error.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from benchmarks.common import finish, parse, parser
from lib.intervals import reach
from lib.metrics import ClipCounts, weighted_scores
from lib.study.predictions import predictions_of
from lib.study.scores import score
from lib.study.segment import masklet_paths
from lib.study.study import Study, open_study
from lib.tables.refiner import base_labels, refined_labels
from lib.tables.segmentor_scores import I_SAM2, fill_of, segmentor_rows

MEASURES = ("mIoU", "wIoU", "mBIoU", "mVC8", "mVC16")
SIZES = (
    4,
    6,
    10,
    30,
    343,
)  # clips: Table 2 on mini, what verdicts need, Table 1 on mini, ..., VSPW's val split
OURS, JACKKNIFE, HALL = "ours", "jackknife-t", "skew-corrected t"
PERCENTILE, BCA, STUDENTISED = "percentile", "BCa", "studentised"
MIXED = "all models"
TINY = 1e-9  # points: changes that are equal but for rounding are equal
Population = tuple[list[ClipCounts], list[ClipCounts]]  # after and before, by clip
Bounds = tuple[np.ndarray, np.ndarray]  # low and high, (R, measures)


def populations() -> dict[str, Population]:
    """Measure the populations by name, `MIXED` first."""
    study = open_study("mini")
    refined = dict(refined_and_base(study))
    mixed = tuple(sum((counts[i] for counts in refined.values()), []) for i in (0, 1))
    singles = {f"{name}, refined - base": counts for name, counts in refined.items()}
    segmented, _ = segmentor_rows(study)
    singles["I-SAM2 - base"] = segmented[I_SAM2, ""], segmented[fill_of(study)[1:]]
    return {MIXED: mixed, **singles}


def refined_and_base(study: Study) -> Iterator[tuple[str, Population]]:
    """Score every base model before and after refinement: (name, counts)."""
    paths = masklet_paths(study)
    for name, method, backbone in study.profile.models:
        predictions = predictions_of(study, name)
        after, before = (
            score(study, *of) for of in (refined_labels(predictions, paths), base_labels(predictions))
        )
        yield f"{method} {backbone}", (after, before)


def slim(population: Population) -> Population:
    """The same without the classes that the truth never has, which no score looks at."""
    present = np.sum([c.truth_px for c in population[0]], axis=0) > 0
    fields = ("correct_px", "truth_px", "predicted_px")
    return tuple(
        [replace(c, **{f: getattr(c, f)[present] for f in fields}) for c in counts] for counts in population
    )


def changes(population: Population, weights: np.ndarray) -> np.ndarray:
    """Score R weighted data sets: how often each clip counts, (..., K) -> changes in points, (..., measures)."""
    flat = weights.reshape(-1, weights.shape[-1])
    after, before = (weighted_scores(counts, "vspw", lambda _: flat) for counts in population)
    found = np.stack([after[m] - before[m] for m in MEASURES], axis=-1)
    return found.reshape(*weights.shape[:-1], len(MEASURES))


def left_out(population: Population, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The jackknife's standard error and skewness of R samples, `times` (R, K) how often each holds each clip; a
    clip that is there twice is left out once, twice."""
    n, one = times.sum(1)[:, None], np.eye(times.shape[1])
    # where a clip is not there, leaving it out counts zero times below
    without = changes(population, times[:, None] - one * (times > 0)[:, None])
    weight = times[:, :, None]
    apart = (weight * without).sum(1, keepdims=True) / n[:, None] - without
    spread, cubes = (weight * apart**2).sum(1) / n, (weight * apart**3).sum(1) / n
    error = np.sqrt((n - 1) * spread)
    return error, np.divide(cubes, spread**1.5, out=np.zeros_like(cubes), where=error > TINY)


def contestants(
    population: Population, times: np.ndarray, n_resamples: int, n_studentised: int, rng: np.random.Generator
) -> dict[str, Bounds]:
    """Make the intervals of R samples of clips; 0 resamples leave a contestant out."""
    n, change, (error, skew) = int(times[0].sum()), changes(population, times), left_out(population, times)
    t, (down, up) = stdtrit(n - 1, 0.975), reach(n, skew)
    bounds = {
        OURS: (change - down * error, change + up * error),
        JACKKNIFE: (change - t * error, change + t * error),
        HALL: tuple(change - corrected(x, n, skew) * error for x in (t, -t)),
    }
    if n_resamples:
        resampled = np.stack([rng.multinomial(n, row / n, n_resamples) for row in times]).astype(float)
        values = changes(population, resampled)
        bounds[PERCENTILE] = tuple(np.percentile(values, (2.5, 97.5), axis=1))
        bounds[BCA] = bias_corrected(change, skew / (6 * np.sqrt(n)), values)
    if n_studentised:
        errors = left_out(population, resampled[:, :n_studentised].reshape(-1, times.shape[1]))[0]
        errors = errors.reshape(len(times), n_studentised, -1)
        bounds[STUDENTISED] = studentised(change, error, values[:, :n_studentised], errors)
    return bounds


def corrected(t: float, n: int, skew: np.ndarray) -> np.ndarray:
    """Hall's correction of t for skewness, by itself: it moves bounds out on one side and in on the other."""
    bend = np.where(abs(skew) < TINY, TINY, skew) / np.sqrt(n)
    return np.where(abs(bend) < 1e-6, t, 3 / bend * (np.cbrt(1 + bend * (t - bend / 6)) - 1))


def bias_corrected(change: np.ndarray, bend: np.ndarray, values: np.ndarray) -> Bounds:
    """BCa: percentiles of the resampled `values` (R, B, measures), moved for their bias and acceleration."""
    n = values.shape[1]
    below = ((values < change[:, None]).sum(1) + (values == change[:, None]).sum(1) / 2) / n
    bias, ranked = ndtri(np.clip(below, 0.5 / n, 1 - 0.5 / n)), np.sort(values, axis=1)
    bounds = []
    for z in ndtri((0.025, 0.975)):
        rank = ndtr(bias + (bias + z) / (1 - bend * (bias + z))) * (n - 1)
        bounds.append(np.take_along_axis(ranked, rank.round().astype(int)[:, None], axis=1)[:, 0])
    return tuple(bounds)


def studentised(change: np.ndarray, error: np.ndarray, values: np.ndarray, errors: np.ndarray) -> Bounds:
    """The bootstrap of t: how far resampled `values` lie from the sample's, in their own standard errors."""
    apart = values - change[:, None]
    flat = errors <= TINY
    t = np.divide(apart, errors, out=np.zeros_like(apart), where=~flat)
    far = flat & (abs(apart) > TINY)
    t[far] = np.copysign(np.inf, apart[far])
    low, high = np.quantile(t, (0.025, 0.975), axis=1, method="nearest")
    with np.errstate(invalid="ignore"):  # no error times an infinite t: unbounded
        return tuple(
            np.where(np.isnan(b), s * np.inf, b)
            for b, s in ((change - high * error, -1), (change - low * error, 1))
        )


def missed(
    population: Population, n: int, rounds: int, n_resamples: int, n_studentised: int, seed: int
) -> dict:
    """Simulate: {contestant: (2, measures)}, the shares of samples whose interval lies above and below the truth."""
    rng, K = np.random.default_rng(seed), len(population[0])
    truth, chunk, shares = changes(population, np.ones((1, K)))[0], 20 if n_studentised else 100, {}
    for start in range(0, rounds, chunk):
        size = min(chunk, rounds - start)
        times = rng.multinomial(n, np.full(K, 1 / K), size).astype(float)
        for who, (low, high) in contestants(population, times, n_resamples, n_studentised, rng).items():
            found = np.stack([(low > truth + TINY).sum(0), (high < truth - TINY).sum(0)])
            shares[who] = shares.get(who, 0) + found / rounds
    return shares


def lines_of(found: dict[str, dict[str, np.ndarray]], n: int) -> list[dict]:
    """Rows of the table for one n: the mixed population, then the mean and the worst of the single ones."""
    lines, singles = [], [name for name in found if name != MIXED]
    for who in found[MIXED]:
        above, below = 100 * found[MIXED][who]
        covered = 100 - 100 * np.stack([found[name][who].sum(0) for name in singles])
        model, measure = np.unravel_index(covered.argmin(), covered.shape)
        lines.append(
            {
                "n": n,
                "interval": who,
                "covers": 100 - (above + below).mean(),
                **{m: 100 - above[i] - below[i] for i, m in enumerate(MEASURES)},
                "holds_falsely": above.mean(),
                "fails_falsely": below.mean(),
                "single": covered.mean(),
                "least": covered.min(),
                "least_of": f"{MEASURES[measure]}, {singles[model]}",
            }
        )
    return lines


def simulate(
    measured: dict[str, Population], sizes: Sequence[int], rounds: int, n_resamples: int, n_studentised: int
) -> list[dict]:
    """Rows of the table: every n and contestant."""
    lines, measured = [], {name: slim(population) for name, population in measured.items()}
    for n in sizes:
        found = {}
        for i, (name, population) in enumerate(measured.items()):
            found[name] = missed(population, n, rounds, 0, 0, i)
            if n_resamples:  # which take longer: fewer rounds
                slow = missed(population, n, max(rounds // 10, 1), n_resamples, n_studentised, i)
                found[name] = slow | found[name]
        lines += lines_of(found, n)
    return lines


def summary(table: Sequence[dict]) -> list[str]:
    """Write the table in short, as the docstring of `lib.intervals` and README.md hold it."""
    lines = ["| n | percentile | ours | by measure | holds falsely | single | least |", "| ---: " * 7 + "|"]
    for n in dict.fromkeys(row["n"] for row in table):
        rows = {row["interval"]: row for row in table if row["n"] == n}
        ours, before = rows[OURS], rows[PERCENTILE]
        measures = [ours[m] for m in MEASURES]
        cells = [
            f"{before['covers']:.1f}",
            f"{ours['covers']:.1f}",
            f"{min(measures):.1f} to {max(measures):.1f}",
            f"{before['holds_falsely']:.1f} -> {ours['holds_falsely']:.1f}",
            f"{before['single']:.1f} -> {ours['single']:.1f}",
            f"{before['least']:.1f} -> {ours['least']:.1f}",
        ]
        lines.append("| " + " | ".join([str(n), *cells]) + " |")
    return lines


def main(arguments=None):
    options = parser(__doc__, rounds=5000)
    options.add_argument("--resamples", type=int, default=400, help="of the bootstraps; 0 leaves them out")
    options.add_argument(
        "--studentised", type=int, default=100, help="resamples of the studentised bootstrap"
    )
    options = parse(options, "coverage", arguments)
    measured = populations()
    lines = simulate(measured, SIZES, options.rounds, options.resamples, options.studentised)
    notes = [
        f"Populations: {', '.join(f'{name} ({len(counts[0])} clips)' for name, counts in measured.items())}. {options.rounds} samples of n clips from each; for the bootstraps a tenth of that, with {options.resamples} resamples ({options.studentised} for studentised).",
        f"covers: percent of samples from {MIXED!r} whose interval holds the true change, mean over measures, then by measure. holds_falsely, fails_falsely: percent of those whose interval lies above and below it, which is what a verdict gets wrong when the true change is zero; 2.5 each is right. single: coverage of the other populations, mean over them and the measures; least: of the one that is covered least.",
    ]
    table = finish("coverage", options, lines, notes)
    print(*(summary(lines) if options.resamples else ()), sep="\n")
    return table


if __name__ == "__main__":
    main()
