"""Keeps two listening sockets while a daemon comes and goes, as systemd does with socket units.

hold_sockets.py PUBLIC ADMIN NOTIFIED -- PROGRAM ARGUMENT...
PUBLIC and ADMIN are host:port, or a path for a unix socket.

The daemon gets them as LISTEN_FDS with the names public and admin, and a notification socket; what it says there is
appended to the file NOTIFIED, a line for each word. SIGUSR1: restart, the next daemon starts once the old one has
ended. SIGHUP goes to the daemon. SIGTERM: the daemon's end is ours.
"""

import ctypes
import os
import signal
import socket
import sys
import threading

FIRST = 3
NAMES = "public:admin"
PR_SET_PDEATHSIG = 1


def listening(address):
    if address.startswith("/"):
        held = socket.socket(socket.AF_UNIX)
        held.bind(address)
        held.listen(4096)
        return held
    host, port = address.rsplit(":", 1)
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((host, int(port)))
    held.listen(4096)
    return held


def note(inbox, path):
    with open(path, "a", encoding="utf-8", buffering=1) as notes:
        while True:
            notes.write(inbox.recv(4096).decode() + "\n")


def launch(held, command):
    pid = os.fork()
    if pid:
        return pid
    # A test that fails kills the holder: its daemon must not outlive it.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # High first: a socket may sit on the number that another one is to have.
    aside = [os.dup2(one.fileno(), 200 + index) for index, one in enumerate(held)]
    for index, one in enumerate(aside):
        os.dup2(one, FIRST + index, inheritable=True)
        os.close(one)
    told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(held)), "LISTEN_FDNAMES": NAMES}
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execvpe(command[0], command, os.environ | told)


def main():
    public, admin, notified, dashes, *command = sys.argv[1:]
    assert dashes == "--"
    held = [listening(public), listening(admin)]
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inbox.bind("\0auditshield-hold-%d" % os.getpid())
    os.environ["NOTIFY_SOCKET"] = "@auditshield-hold-%d" % os.getpid()
    watched = {signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    threading.Thread(target=note, args=(inbox, notified), daemon=True).start()
    again = False
    pid = launch(held, command)
    while True:
        heard = signal.sigwait(watched)
        if heard == signal.SIGCHLD:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended == 0:
                continue
            if not again:
                sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
            again = False
            pid = launch(held, command)
        else:
            # A restart under way that is told to end starts nobody any more.
            again = heard != signal.SIGTERM and (again or heard == signal.SIGUSR1)
            os.kill(pid, signal.SIGTERM if heard == signal.SIGUSR1 else heard)


main()
