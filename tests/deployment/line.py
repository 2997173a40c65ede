"""A line between a hospital and the coordinator that a test can cut."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"


@dataclass
class Line:
    """Carries TCP connections from a port of its own to another.

    While it is cut, nothing passes, and connections stay open in silence, as when
    a cable is pulled. What was open then is broken off when it is mended.

    Parameters
    ----------
    target : port that it leads to.
    only_from : address that may use it, as a firewall has it; empty = all.
    """

    target: int
    only_from: str = ""
    _ends: list[socket.socket] = field(default_factory=list)
    _whole: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._whole.set()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Let nothing pass from now on."""
        self._whole.clear()

    def mend(self) -> None:
        """Let new connections pass; those that were open meanwhile break off."""
        self._break_off()
        self._whole.set()

    def close(self) -> None:
        """Take the line away."""
        self._listener.close()
        self._break_off()
        self._whole.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, (address, _) = self._listener.accept()
                if self.only_from not in ("", address):
                    near.close()
                    continue
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with self._lock:
            self._ends.append(near)
        try:
            far = socket.create_connection((LOOPBACK, self.target))
        except OSError:
            near.close()
            return
        with self._lock:
            self._ends.append(far)
        threading.Thread(target=self._pass_on, args=(far, near), daemon=True).start()
        self._pass_on(near, far)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._whole.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _break_off(self) -> None:
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
