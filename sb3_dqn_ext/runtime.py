"""Settings of the process that make training faster and change no result beyond numbers below 1e-38."""

import ctypes
import functools
import platform

import torch as th

KEEP_BYTES = 32 * 1024 * 1024  # the most that glibc accepts as M_MMAP_THRESHOLD
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


@functools.cache
def prepare_process() -> None:
    """
    Flush denormal floats to zero, and let the C library keep freed memory.

    Early in training many gradients are denormal, which slows every kernel. And glibc gives every block above 128 KB back to
    the kernel, so that each update faults thousands of pages in again. Called once, before the first network is built: worker
    threads inherit the floating-point mode of the thread that starts them.
    """
    th.set_flush_denormal(True)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, 8 * KEEP_BYTES)
        libc.mallopt(M_TOP_PAD, KEEP_BYTES)
