"""What `refine` writes: refined frames, masklets, and beside both the record of what they were made of."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import masklets as masklet_files
from ..clips.clip import Clip, Predictions
from ..clips.digests import frames_digest, predictions_digest
from ..clips.errors import DataError, problem
from ..clips.images import write_labels
from ..config import MaskletSettings, Shortcuts, VoteSettings
from ..masklets import Masklets
from ..refiner import refine_clip
from ..study.cache import VERSIONS
from .records import Record, recorded

log = logging.getLogger(__name__)
REFINED, MASKLETS = "_refined.json", "_masklets.json"
UNFINISHED = ".masklets"  # in OUT: masklets of clips that are not refined yet
REFINE_VERSION = 1  # raise it when refined predictions change although masklets and predictions do not


@dataclass(frozen=True)
class Results:
    """Where results go, and the records beside them."""

    out: Path
    masklets: Path
    keep: bool  # masklets stay when their clip is done
    refined: Record
    segmented: Record

    def finished(self, clip: Clip) -> bool:
        """Say whether all refined frames of a clip are there and made as this run would make them."""
        whole = all((self.out / clip.name / f"{frame}.png").exists() for frame in clip.frames)
        return whole and self.refined.done(clip.name)

    def saved(self, clip: Clip) -> Path:
        """The file of a clip's masklets."""
        return self.masklets / f"{clip.name}.json"

    def segmented_before(self, clip: Clip) -> bool:
        """Say whether masklets of a clip are there, made as this run would make them."""
        return self.segmented.done(clip.name) and self.saved(clip).exists()

    def to_segment(self, clip: Clip) -> bool:
        """Say whether a clip still needs SAM 2."""
        return not self.finished(clip) and not self.segmented_before(clip)

    def read_masklets(self, clip: Clip, settings: MaskletSettings) -> Masklets:
        """Read masklets of an earlier run; a file of other settings or another clip is an error."""
        path = self.saved(clip)
        found = masklet_files.read(path)
        if found.settings != settings or len(found) != len(clip) or found.size != clip.size:
            raise problem(
                DataError,
                path,
                expected=f"masklets of {clip.name} ({len(clip)} frames of {clip.size[0]}x{clip.size[1]}) under {settings}",
                found=f"{len(found)} frames of {found.size[0]}x{found.size[1]} under {found.settings}",
                remedy="Delete the file, or choose another folder with --masklets.",
            )
        return found

    def keep_masklets(self, clip: Clip, found: Masklets) -> None:
        """Save a clip's masklets and record what they were made of; stale ones go first."""
        for name in self.segmented.stale():
            (self.masklets / f"{name}.json").unlink()
        self.segmented.write(clip.name, done=True)  # without the file, this says nothing
        found.save(self.saved(clip))

    def write(self, clip: Clip, prediction: Predictions, found: Masklets, votes: VoteSettings) -> None:
        """Refine one clip and write its frames; record it before and after."""
        with self._masklets_kept(clip):
            for name in self.refined.stale():  # with --overwrite: nothing may mix with what comes now
                for old in (self.out / name).glob("*.png"):
                    old.unlink()
            self.refined.write(clip.name, done=False)
            for frame, refined in zip(clip.frames, refine_clip(prediction, found, votes)):
                write_labels(self.out / clip.name / f"{frame}.png", refined)
            self.refined.write(clip.name, done=True)
        if empty := sum(not frame.ids for frame in found.frames):
            log.warning(
                "%s: SAM 2 found no masklet in %d of %d frames; they keep their predictions",
                clip.name,
                empty,
                len(clip),
            )
        n_masklets = sum(len(frame.ids) for frame in found.frames) / len(clip)
        log.info("%s: %d frames refined, %.1f masklets a frame", clip.name, len(clip), n_masklets)

    @contextmanager
    def _masklets_kept(self, clip: Clip) -> Iterator[None]:
        """Say where a clip's masklets are if refining fails; remove them after it if they were not asked for."""
        try:
            yield
        except BaseException:
            if not self.keep:
                log.warning("%s: its masklets are kept in %s for the next run", clip.name, self.saved(clip))
            raise
        if not self.keep:
            self.saved(clip).unlink()
            if all(path.name == MASKLETS for path in self.masklets.glob("*.json")):
                shutil.rmtree(self.masklets)  # it is ours; a killed run may have left a part of a file


def recorded_checkpoint(out: Path, masklets: Path | None) -> str:
    """Return the SAM 2 that an earlier run into these folders recorded; "" for none."""
    kept = masklets or out / UNFINISHED
    return recorded(out / REFINED, "checkpoint") or recorded(kept / MASKLETS, "checkpoint")


def results_of(
    pairs: list[tuple[Clip, Predictions]],
    out: Path,
    masklets: Path | None,
    sam: tuple[str, str],
    settings: MaskletSettings,
    votes: VoteSettings,
    shortcuts: Shortcuts,
    *,
    bf16: bool,
    overwrite: bool,
) -> Results:
    """Say where the results of a run go and what they are made of; reads files whose digests are not known.

    Args: sam: (checkpoint, digest of its weights); the others as for `lib.commands.refine.refine_folder`.
    """
    kept = masklets or out / UNFINISHED
    if sum(len(clip) for clip, _ in pairs) > 2000:
        log.info("reading the files of %d clips, to record what the results are made of", len(pairs))
    of_frames = {clip.name: {"frames": frames_digest(clip)} for clip, _ in pairs}
    of_both = {c.name: {**of_frames[c.name], "predictions": predictions_digest(p)} for c, p in pairs}
    segmented_by = {
        "checkpoint": sam[0],
        "weights": sam[1],
        "bf16": bf16,
        **asdict(settings),
        **shortcuts.taken,
    }
    refined = Record(
        out / REFINED,
        {**segmented_by, **asdict(votes), "version": f"{VERSIONS['masklets']}.{REFINE_VERSION}"},
        of_both,
        lambda name: any((out / name).glob("*.png")),
        overwrite,
    )
    segmented = Record(
        kept / MASKLETS,
        {**segmented_by, "version": f"{VERSIONS['masklets']}"},
        of_frames,
        lambda name: (kept / f"{name}.json").exists(),
        overwrite,
    )
    return Results(out, kept, masklets is not None, refined, segmented)
