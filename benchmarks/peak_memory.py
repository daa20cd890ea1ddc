"""The most memory that the process which asks has had."""

from pathlib import Path


def read_peak_bytes() -> int:
    """Give the peak of the resident memory since this program began.

    It is read from Linux's `/proc`, because `getrusage` keeps the peak of a larger process that
    started this one: https://man7.org/linux/man-pages/man2/getrusage.2.html says so of `execve`.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * 1024
