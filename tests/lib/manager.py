# SPDX-License-Identifier: Apache-2.0
"""What a service manager is to a service: it holds listening sockets and is told how things are."""
import os
import socket
import subprocess

from lib import weir

FIRST_FD = 3
# The manager's own pid is not known before the fork.
SHELL = 'export LISTEN_PID=$$; exec "$@"'


def listening(port=0, host="127.0.0.1", shared=False):
    """A socket as ListenStream= makes it; shared: ReusePort=yes."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
    made.bind((host, port))
    made.listen(512)
    return made


class Manager:
    """sockets: (name, socket) in their order."""

    def __init__(self, directory, *sockets):
        self.sockets = sockets
        self.path = str(directory / "notify")
        self.told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.told.bind(self.path)
        self.told.settimeout(20)

    def _give(self):
        """In the child: the sockets become 3, 4, and so on."""
        high = [os.dup(made.fileno()) for _, made in self.sockets]
        high = [os.dup2(fd, 200 + i) for i, fd in enumerate(high)]
        for i, fd in enumerate(high):
            os.dup2(fd, FIRST_FD + i)
            os.close(fd)

    def start(self, *args, env=None):
        """A process of weir; its log is a weir.Log of its output."""
        numbers = range(FIRST_FD, FIRST_FD + len(self.sockets))
        return subprocess.Popen(
            ["sh", "-c", SHELL, "sh", weir.binary(), *map(str, args)],
            env={
                **weir.base_environment(),
                "LISTEN_FDS": str(len(self.sockets)),
                "LISTEN_FDNAMES": ":".join(name for name, _ in self.sockets),
                "NOTIFY_SOCKET": self.path,
                **(env or {}),
            },
            preexec_fn=self._give,
            pass_fds=tuple(numbers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def hears(self):
        """The next message, as its lines."""
        return self.told.recv(4096).decode().split("\n")

    def close(self):
        self.told.close()
        for _, made in self.sockets:
            made.close()
