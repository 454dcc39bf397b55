"""Run programs one after the other from a small process and record the resources that they used.

A new process counts the memory of the one that it was forked from as its own peak, until it needs more. Forked from
here, a program that needs 10 MB is measured with 10 MB. The arguments are the number of a file descriptor, which takes
the answer as JSON, and a JSON list of command lines. Ends with exit code 1 after the first program that fails.
"""

from __future__ import annotations

import json
import os
import sys
import time


def launch(argvs: list[list[str]]) -> dict[str, float]:
    """Return seconds, CPU seconds and the peak in bytes of the largest process, and the exit code."""
    began = time.perf_counter()
    cpu, peak, code = 0.0, 0, 0
    for argv in argvs:
        pid = os.posix_spawnp(argv[0], argv, os.environ)
        _, status, used = os.wait4(pid, 0)
        cpu += used.ru_utime + used.ru_stime
        peak = max(peak, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        code = os.waitstatus_to_exitcode(status)
        if code:
            break
    return {"seconds": time.perf_counter() - began, "cpu": cpu, "peak": peak, "code": code}


if __name__ == "__main__":
    told = launch(json.loads(sys.argv[2]))
    os.write(int(sys.argv[1]), json.dumps(told).encode())
    sys.exit(1 if told["code"] else 0)
