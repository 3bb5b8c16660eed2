"""Holds one thread still until a line comes on standard input, as a debugger would.

Usage: stall.py THREAD; prints "still" once it is. ptrace(2): PTRACE_SEIZE, PTRACE_INTERRUPT.
"""

import ctypes
import os
import sys

SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


thread = int(sys.argv[1])
ptrace(SEIZE, thread)
ptrace(INTERRUPT, thread)
os.waitpid(thread, WALL)
print("still", flush=True)
sys.stdin.readline()
ptrace(DETACH, thread)
