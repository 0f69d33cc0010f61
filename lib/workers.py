"""Work side by side, in threads and in processes, and how processes of ours behave."""

import ctypes
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor


def side_by_side(work: Callable, items: Sequence, workers: int | None = None) -> list:
    """Do work(item) for all items in threads, for work that spends its time in numpy, OpenCV or torch, and
    return the results in order.

    Args: workers: threads; None for as many as there are cores. Items that have not begun are dropped when
        one fails.
    """
    workers = min(len(items), workers or os.cpu_count())
    if workers <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        try:
            return list(pool.map(work, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def workers(n: int, *modules: str) -> ProcessPoolExecutor:
    """Start n worker processes, which end with this one. On Linux they are forked from a process that
    imports `modules` once for all of them."""
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([*modules])
    return ProcessPoolExecutor(n, context, end_with_parent)


def end_with_parent() -> None:
    """Let this worker end when the process that started it is gone, or a killed notebook would leave its
    workers computing for nobody."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def keep_memory() -> None:
    """Let this process keep what it frees up to 1 GB, or every large tensor costs new pages: SAM 2 takes a
    tenth less time on a CPU. Only glibc can."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):
        # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD of malloc.h
        for option, n_bytes in ((-3, 2**25), (-1, 2**30), (-2, 2**26)):
            libc.mallopt(option, n_bytes)
