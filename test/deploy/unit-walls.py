"""Writes the seccomp filter of a unit as BPF: python3 unit-walls.py FILE ERRNO FAMILY,FAMILY CALL..."""

import errno
import socket
import sys

import seccomp

path, error, families, *calls = sys.argv[1:]
# What comes with the C library of a machine that is newer than this one is refused with the rest.
walls = seccomp.SyscallFilter(seccomp.ERRNO(getattr(errno, error)))
for call in calls:
    if call == "socket":
        for family in families.split(","):
            walls.add_rule(
                seccomp.ALLOW, call, seccomp.Arg(0, seccomp.EQ, getattr(socket, family))
            )
        continue
    try:
        walls.add_rule(seccomp.ALLOW, call)
    except (RuntimeError, OSError):
        pass
with open(path, "wb") as file:
    walls.export_bpf(file)
