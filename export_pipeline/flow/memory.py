"""What keeps the memory of a process small that exports."""

import contextlib
import ctypes
import os

#: glibc's number of the parameter (malloc.h).
_M_MMAP_THRESHOLD = -3


def limit_memory() -> None:
    """Keeps what an export holds small, where nothing gets slower by it; to be called before Polars is first imported.

    Polars does not pile up rows before a slow destination: with one of 80 MB/s a CSV of 1,000,000 rows took 310 MB,
    and takes 238, Parquet 395 and 284. And glibc gives large buffers back to the system when they are freed; else it
    takes the largest that it has seen for usual, and keeps them, thread by thread: 346 MB for a CSV in S3 with its
    proof, 321 so (`man 3 mallopt`, M_MMAP_THRESHOLD).
    """
    for name in ("POLARS_DEFAULT_LINEARIZER_BUFFER_SIZE", "POLARS_DEFAULT_DISTRIBUTOR_BUFFER_SIZE"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("POLARS_INFLIGHT_SINK_MORSEL_LIMIT", "2")
    # Nobody does linear algebra here, whose threads spin for a while before they sleep (2 % of a proof's time).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Other C libraries have no mallopt, and other systems no such way to look for it.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 128 << 10)
