"""Stands in a terminal and carries bytes between it and the program, which runs at the other end of an HTTP server.

    python3 relay.py http://127.0.0.1:PORT/WORD

A terminal may live in another root directory than the program, so this needs nothing but Python.
"""

import http.client
import json
import os
import queue
import signal
import struct
import sys
import termios
import threading
import tty
from fcntl import ioctl
from urllib.parse import urlsplit


def main() -> None:
    address = urlsplit(sys.argv[1])
    host, folder = address.netloc, address.path
    post = _poster(host, folder)
    post("/open", json.dumps({"environ": dict(os.environ), "size": _size()}).encode())
    signal.signal(signal.SIGWINCH, lambda *_: post("/size", json.dumps(_size()).encode()))
    before = termios.tcgetattr(0)
    tty.setraw(0)
    threading.Thread(target=_carry_keys, args=(post,), daemon=True).start()
    try:
        output = http.client.HTTPConnection(host)
        output.request("GET", folder + "/out")
        answer = output.getresponse()
        while chunk := answer.read1(65536):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
    finally:
        termios.tcsetattr(0, termios.TCSANOW, before)


def _poster(host: str, folder: str):  # type: ignore[no-untyped-def]
    """A function that posts bodies, one after the other, from whatever thread."""
    waiting: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

    def post_all() -> None:
        connection = http.client.HTTPConnection(host)
        while True:
            path, body = waiting.get()
            connection.request("POST", folder + path, body)
            connection.getresponse().read()

    threading.Thread(target=post_all, daemon=True).start()
    return lambda path, body: waiting.put((path, body))


def _carry_keys(post) -> None:  # type: ignore[no-untyped-def]
    while keys := os.read(0, 4096):
        post("/in", keys)


def _size() -> list[int]:
    """Rows and columns, and width and height in pixels (0 where the terminal does not say)."""
    return list(struct.unpack("4H", ioctl(0, termios.TIOCGWINSZ, bytes(8))))


if __name__ == "__main__":
    main()
