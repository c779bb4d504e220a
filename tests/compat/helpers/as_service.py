"""Runs a command as systemd does: its sockets from number 3 on, and its own pid in the environment.

as_service.py NAMES FD,FD COMMAND...
"""

from __future__ import annotations

import os
import sys

names, numbers, *command = sys.argv[1:]
passed = [int(number) for number in numbers.split(",") if number]
# Out of the way first: a socket may already have a number that another one is to get.
high = [os.dup(fd) for fd in passed]
while any(fd < 3 + len(passed) for fd in high):
    high = [os.dup(fd) for fd in high]
for at, fd in enumerate(high):
    os.dup2(fd, 3 + at)
    os.set_inheritable(3 + at, True)
if passed:
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(passed)), "LISTEN_FDNAMES": names}
os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(command[0], command)
