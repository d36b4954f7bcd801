"""What it costs that the host is elsewhere: `python -m benchmarks.access` prints one line of JSON.

first_step   from submitting to the first step on a warm model: over TCP with TLS and a token, against the socket;
             by a client that connects for each job, as a command does, and by one that stays, as the workstation does
broken       a line that ends, and one that goes silent: seconds until events arrive after the network is back, and
             how many were missed or told twice
workstation  by `--connect` at 64 KB/s and 150 ms each way: first paint over that with a host on the socket, until the
             host is there, from a key to its letter, bytes to the terminal and on the line

All goes over loopback, with a certificate made for it; candidates take turns, in changing order.
"""

import argparse
import contextlib
import json
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.candidates import prompt
from benchmarks.engine import Setting, alternate, machine, summary
from benchmarks.host import drawn, host, request
from benchmarks.tui import DELAY, LINES, Terminal, drawing, keys, latency
from sdterm import GenerationRequest
from sdterm.api import Entry, Submission
from sdterm.client import Client, HostError, reach
from sdterm.core.settings.paths import EMBEDDED_MODEL
from sdterm.core.settings.rundir import run_folder_of
from sdterm.core.settings.tokens import new_token
from sdterm.events import Done, Event, Step
from sdterm.remote import Remote

SIZE = 128
AWAY = {"ends": 1.0, "goes_silent": 8.0}
"""Ways in which a line breaks, and for how many seconds: silence is noticed after six."""
LIMIT = 60.0  # seconds that anything may take


@dataclass
class Served:
    """A host of its own: over the socket, and where its port, token and certificate are."""

    client: Client
    port: int
    token: str
    certificate: Path

    def remote(self, port: int | None = None) -> Remote:
        return Remote(f"https://127.0.0.1:{port or self.port}", self.token, self.certificate)


def first_step(setting: Setting) -> dict[str, Any]:
    numbers = iter(range(10_000))

    def seconds(client: Client) -> float:
        return drawn(client, request(setting, next(numbers)))[Step]

    def connecting(served: Served) -> float:
        began = time.perf_counter()
        with reach(served.remote()) as client:
            connected = time.perf_counter() - began
            return connected + seconds(client)

    with served_host(setting) as served, reach(served.remote()) as far:
        streams = {client: client.events(after=served.client.health().last_event) for client in (far, served.client)}

        def following(client: Client) -> float:
            began = time.perf_counter()
            job = client.submit(Submission(request=request(setting, next(numbers)))).id
            _first(streams[client], job, Step)
            found = time.perf_counter() - began
            for stream in streams.values():
                _first(stream, job, Done)
            return found

        following(served.client), following(far)  # loads the model
        staying = alternate(setting.pairs, lambda: following(far), lambda: following(served.client))
        anew = alternate(setting.pairs, lambda: connecting(served), lambda: seconds(served.client))
    return {"staying": _compared(staying), "connecting": _compared(anew)}


def _first(stream: Iterator[Entry], job: int, kind: type[Event]) -> None:
    """Read up to the first event of that kind."""
    next(entry for entry in stream if entry.job == job and isinstance(entry.event, kind))


def _compared(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        "extra_ms": summary(1000 * (a - b) for a, b in pairs),
        "best_extra_ms": round(1000 * (min(a for a, _ in pairs) - min(b for _, b in pairs)), 1),
        "tls_ms": summary(1000 * a for a, _ in pairs),
        "socket_ms": summary(1000 * b for _, b in pairs),
    }


def broken(setting: Setting) -> dict[str, Any]:
    """While small pictures are drawn, so that something happens all the time."""
    asked = GenerationRequest(prompt=prompt(0), sampler="Euler", steps=100, width=64, height=64, batch_count=100)
    found: dict[str, Any] = {}
    with served_host(setting) as served, closing(Relay(served.port)) as relay:
        drawn(served.client, request(setting, 0))  # loads the model
        after = served.client.health().last_event
        follower = Follower(served.remote(relay.port), after)
        job = served.client.submit(Submission(request=asked)).id
        follower.next_after(0.0)
        for way, away in AWAY.items():
            back = []
            for _ in range(setting.pairs):
                relay.end() if way == "ends" else relay.fall_silent()
                time.sleep(away)
                back.append(follower.next_after(relay.restore()))
            found[way] = {"breaks": len(back), "back_seconds": summary(back)}
        served.client.cancel(job)
        while served.client.job(job).state != "cancelled":
            time.sleep(0.05)
        last = served.client.health().last_event
        numbers = follower.until(last)
    found["events"] = last - after
    found["missed"] = last - after - len(set(numbers))
    found["told_twice"] = len(numbers) - len(set(numbers))
    found["connections"] = relay.connections
    return found


def workstation(setting: Setting) -> dict[str, Any]:
    """Its terminal is here, and only the host far away."""
    count = 4 * setting.pairs
    here = setting.scratch / "here"
    for data in (here, setting.scratch / "data"):
        data.mkdir(exist_ok=True)
        (data / "config.toml").write_text("steps = 1000\n")
    with served_host(setting) as served, closing(Relay(served.port, LINES[0], DELAY)) as relay:
        drawn(served.client, request(setting, 0))  # loads the model
        token = setting.scratch / "workstation.token"
        token.touch(0o600)
        token.write_text(served.token)
        near = [sys.executable, "-P", "-m", "sdterm"]
        far = [*near, "--connect", served.remote(relay.port).url]
        far += ["--token-file", str(token), "--tls-ca", str(served.certificate)]
        paints = alternate(setting.pairs, lambda: _painted(far, here), lambda: _painted(near, setting.scratch / "data"))
        found: dict[str, Any] = {
            "first_paint_over_near": summary(a / b for a, b in paints),
            "first_paint_ms": {"far": summary(1e3 * a for a, _ in paints), "near": summary(1e3 * b for _, b in paints)},
        }
        before = relay.carried
        with closing(Terminal(far, here)) as terminal:
            terminal.until("idle")
            found["host_is_there_ms"] = round(1e3 * (time.perf_counter() - terminal.began))
            terminal.read(5)
            found["start_bytes"] = {"terminal": len(terminal.seen), "line": relay.carried - before}
            found["idle_ms"] = latency(keys(terminal, count))
            found["idle_bytes_a_second"] = _bytes_a_second(terminal, relay, 8)
            drawing(terminal)
            terminal.read(5)
            found["drawing_ms"] = latency(keys(terminal, count))
            found["drawing_bytes_a_second"] = _bytes_a_second(terminal, relay, 5)
        for job in served.client.jobs(("running", "queued")).jobs:
            served.client.cancel(job.id)
    return found


def _painted(command: list[str], data: Path) -> float:
    with closing(Terminal(command, data)) as terminal:
        terminal.until("Commands")
        return time.perf_counter() - terminal.began


def _bytes_a_second(terminal: Terminal, relay: "Relay", seconds: int) -> dict[str, int]:
    before = relay.carried
    to_terminal = terminal.read(seconds)
    return {"terminal": to_terminal // seconds, "line": (relay.carried - before) // seconds}


# --- helpers ----------------------------------------------------------------------------------------------------------


@contextmanager
def served_host(setting: Setting) -> Iterator[Served]:
    """A host that also listens on loopback, with TLS and credentials for everybody."""
    certificate, key = _certificate(setting.scratch)
    port = _free_port()
    environ = {"SDTERM_API": "true", "SDTERM_PORT": str(port)}
    environ |= {"SDTERM_TLS_CERTFILE": str(certificate), "SDTERM_TLS_KEYFILE": str(key)}
    with host(setting, **environ) as client:
        run_folder = run_folder_of(setting.scratch / "data")
        token = new_token(run_folder.tokens, f"benchmark-{port}", "generate", time.time())
        yield Served(client, port, token, certificate)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    certificate, key = folder / "host.crt", folder / "host.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=sdterm benchmark"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return certificate, key


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


class Follower:
    """A thread that follows all events of a host far away, and when each came."""

    def __init__(self, remote: Remote, after: int) -> None:
        self._arrived: list[tuple[float, int]] = []
        self._died: BaseException | None = None
        threading.Thread(target=self._follow, args=(remote, after), daemon=True).start()

    def next_after(self, moment: float) -> float:
        """Wait for an event that comes after that moment of `perf_counter`. Returns the seconds between the two."""
        self._wait(lambda: bool(self._arrived) and self._arrived[-1][0] > moment)
        return next(at for at, _ in self._arrived if at > moment) - moment

    def until(self, number: int) -> list[int]:
        """Wait for that event. Returns the numbers of all, in the order in which they came."""
        self._wait(lambda: bool(self._arrived) and self._arrived[-1][1] >= number)
        return [seen for _, seen in self._arrived if seen <= number]

    def _wait(self, came: Callable[[], bool]) -> None:
        deadline = time.perf_counter() + LIMIT
        while not came():
            if self._died or time.perf_counter() > deadline:
                raise RuntimeError("the events do not arrive any more") from self._died
            time.sleep(0.01)

    def _follow(self, remote: Remote, after: int) -> None:
        try:
            with reach(remote) as client:
                for entry in client.events(after=after):
                    self._arrived.append((time.perf_counter(), entry.number))
        except HostError as error:
            self._died = error


class Relay:
    """A line to a port: it carries so many bytes a second each way, late, and can break."""

    def __init__(self, port: int, rate: float | None = None, delay: float = 0.0) -> None:
        self._to, self._rate, self._delay = port, rate, delay
        self._state = "works"
        self._open: set[socket.socket] = set()
        self._free_at = {"up": 0.0, "down": 0.0}  # when the line has carried what was read
        self._reading = {"up": threading.Lock(), "down": threading.Lock()}  # one line, whatever the connections
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.carried = 0  # bytes, both ways together
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def end(self) -> None:
        """End all connections, and those that are tried from now on."""
        self._state = "ended"
        self._drop()

    def fall_silent(self) -> None:
        """Let nothing through any more, and say so to nobody."""
        self._state = "silent"

    def restore(self) -> float:
        """Carry new connections again; those that were open carry nothing any more. Returns when that was."""
        self._open.clear()
        moment, self._state = time.perf_counter(), "works"
        return moment

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
        self._listening.close()
        self._drop()

    def _drop(self) -> None:
        for connection in [*self._open]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                self.connections += 1
                if self._state == "ended":
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to))
                if self._state == "works":
                    self._open |= {near, far}
                threading.Thread(target=self._carry, args=("up", near, far), daemon=True).start()
                threading.Thread(target=self._carry, args=("down", far, near), daemon=True).start()

    def _carry(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._deliver, args=(under_way, sink), daemon=True).start()
        piece = b"begins"
        while piece:
            try:
                piece = source.recv(1024)
            except OSError:
                piece = b""
            with self._reading[way]:
                if self._rate:
                    now = time.perf_counter()
                    self._free_at[way] = max(now, self._free_at[way]) + len(piece) / self._rate
                    time.sleep(self._free_at[way] - now)
            if source in self._open and self._state != "silent":
                self.carried += len(piece)
                under_way.put((time.perf_counter() + self._delay, piece))

    def _deliver(self, under_way: "queue.SimpleQueue[tuple[float, bytes]]", sink: socket.socket) -> None:
        piece = b"begins"
        with contextlib.suppress(OSError):
            while piece:
                at, piece = under_way.get()
                time.sleep(max(0.0, at - time.perf_counter()))
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


PARTS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "first_step": first_step,
    "broken": broken,
    "workstation": workstation,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help="comma-separated [all]")
    parser.add_argument("--pairs", type=int, default=15, metavar="N", help="turns of each candidate, and breaks [15]")
    parser.add_argument("--note", default="", help="what else the reader should know")
    given = parser.parse_args()
    parts = given.only.split(",")
    if unknown := set(parts) - PARTS.keys():
        parser.error(f"--only has {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    facts = machine()
    with tempfile.TemporaryDirectory() as temporary:
        setting = Setting(EMBEDDED_MODEL, SIZE, given.pairs, Path(temporary))
        results = {name: PARTS[name](setting) for name in PARTS if name in parts}
    print(json.dumps({"benchmark": "access", "machine": facts, "note": given.note, **results}))


if __name__ == "__main__":
    main()
