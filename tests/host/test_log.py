"""The event stream: in order, without a gap, and never slowed down or swollen by who does not read."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from sdterm.core.settings.rundir import run_folder_of
from sdterm.events import Preview, Queued, Step
from sdterm.host import log as module
from sdterm.host.log import BEHIND, PREVIEWS
from sdterm.host.services import HostServices
from tests.host.conftest import StartHost, submission

Told = list[dict[str, Any]]


def entries(text: bytes) -> Told:
    """The entries in some server-sent events, comments left out."""
    lines = [line.removeprefix(b"data: ") for line in text.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines]


class Reader:
    """One who follows the log, and reads only when told to."""

    def __init__(
        self, services: HostServices, after: int | None = None, job: int | None = None, previews: bool = False
    ) -> None:
        self._stream: AsyncIterator[bytes] = services.log.follow(after, job, previews)

    async def read(self) -> Told:
        """What has come by now; at first also what was missed."""
        found: Told = []
        while True:
            chunk = asyncio.ensure_future(anext(self._stream))
            text = await asyncio.wait_for(chunk, 20)
            found += entries(text)
            if text.startswith(b":") or found:
                return found

    async def missed(self) -> Told:
        """All that is told before the first wait."""
        found: Told = []
        while not (text := await asyncio.wait_for(anext(self._stream), 20)).startswith(b":"):
            found += entries(text)
        return found


def step(services: HostServices, number: int, job: int = 1) -> None:
    services.log.add(job, Step(batch=0, batches=1, step=number, steps=10_000))


def run(act: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(_awaited(act), 300))


async def _awaited(act: Callable[[], Awaitable[None]]) -> None:
    await act()


def test_after_a_number_comes_exactly_what_was_missed_and_then_what_happens(services: HostServices) -> None:
    for number in range(1, 1201):  # more than two pages
        step(services, number, job=number % 3)

    async def act() -> None:
        for after in (0, 1, 499, 500, 501, 1199, 1200):
            reader = Reader(services, after)
            told = await reader.missed()
            assert [entry["number"] for entry in told] == list(range(after + 1, 1201))
            assert all(entry["event"]["step"] == entry["number"] and entry["at"] == 1000.0 for entry in told)
        for _ in range(3):
            step(services, services.log.last + 1)
        assert [entry["number"] for entry in await reader.read()] == [1201, 1202, 1203]

    run(act)


def test_what_happens_while_a_client_catches_up_is_neither_lost_nor_told_twice(services: HostServices) -> None:
    for number in range(1, 1301):
        step(services, number)

    async def act() -> None:
        stream = services.log.follow(0, None, False)
        found: Told = []
        while len(found) < 1600:
            text = await asyncio.wait_for(anext(stream), 20)
            found += entries(text)
            if services.log.last < 1600:
                for _ in range(100):
                    step(services, services.log.last + 1)
        assert [entry["number"] for entry in found] == list(range(1, 1601))

    run(act)


def test_without_a_number_only_what_happens_from_now_on_is_told(services: HostServices) -> None:
    step(services, 1)

    async def act() -> None:
        reader = Reader(services)
        assert await reader.missed() == []
        step(services, 2)
        assert [entry["number"] for entry in await reader.read()] == [2]

    run(act)


def test_one_job_is_told_without_the_others(services: HostServices) -> None:
    for number in range(1, 2001):
        step(services, number, job=1 + number % 2)

    async def act() -> None:
        reader = Reader(services, after=0, job=2)
        assert [entry["number"] for entry in await reader.missed()] == list(range(1, 2001, 2))
        for job in (1, 2, 1):
            step(services, 0, job)
        assert [entry["number"] for entry in await reader.read()] == [2002]

    run(act)


@pytest.mark.parametrize("after", [51, 10**18, 2**63 - 1])
def test_who_asks_after_what_has_not_happened_gets_a_snapshot(services: HostServices, after: int) -> None:
    job = services.jobs.submit(submission("a house"), services.saving())
    for number in range(services.log.last, 50):
        step(services, number)

    async def act() -> None:
        reader = Reader(services, after)
        (told,) = await reader.missed()
        assert told["event"]["event"] == "snapshot" and told["number"] == 50
        assert [shown["id"] for shown in told["event"]["jobs"]] == [job]
        assert told["event"]["queue"]["counts"]["queued"] == 1
        step(services, 51)
        assert [entry["number"] for entry in await reader.read()] == [51]

    run(act)


def test_who_asks_after_what_is_not_kept_any_more_gets_a_snapshot(
    services: HostServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 100)
    for number in range(1, 251):
        step(services, number)
    assert [tuple(row) for row in services.database.rows("SELECT min(number), count(*) FROM events")] == [(151, 100)]

    async def act() -> None:
        for after, snapshot in ((0, True), (149, True), (150, False), (250, False)):
            told = await Reader(services, after).missed()
            kinds = [entry["event"]["event"] for entry in told]
            assert kinds == (["snapshot"] if snapshot else ["step"] * (250 - after))

    run(act)


def test_an_event_is_told_in_the_same_words_at_once_and_later(services: HostServices) -> None:
    async def act() -> None:
        live = services.log.follow(None, None, False)
        await anext(live)
        step(services, 1)
        services.log.add(None, Queued(images=2))
        assert await anext(live) == await anext(services.log.follow(0, None, False))

    run(act)


def test_events_that_were_undone_are_not_told(services: HostServices) -> None:
    async def act() -> None:
        reader = Reader(services)
        await reader.missed()
        with pytest.raises(KeyError), services.database.transaction():
            step(services, 1)
            raise KeyError
        services.log.add(7, Queued(images=1))
        assert [(entry["number"], entry["job"]) for entry in await reader.read()] == [(1, 7)]

    run(act)


def test_who_follows_one_job_is_told_all_that_is_kept_of_it(
    services: HostServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 100)
    old, new = (services.jobs.submit(submission(), services.saving()) for _ in range(2))
    for number in range(1, 61):
        step(services, number, old)
    for number in range(1, 61):
        step(services, number, new)
    late = services.jobs.submit(submission(), services.saving())
    step(services, 1, late)

    async def act() -> None:
        kinds = {
            job: [entry["event"]["event"] for entry in await Reader(services, 0, job).missed()] for job in (old, late)
        }
        assert kinds[old] == ["snapshot"] + ["step"] * 38, "its beginning is gone, the rest is there"
        assert kinds[late] == ["queued", "step"], "that others' events are gone is nothing to it"

    run(act)


def test_who_follows_one_job_and_reads_slowly_misses_nothing(services: HostServices) -> None:
    async def act() -> None:
        lazy = Reader(services, None, 1)
        await lazy.missed()
        for number in range(1, 3 * BEHIND + 1):
            step(services, number, 1 + number % 2)
        told: Told = []
        while len(told) < 3 * BEHIND // 2:
            told += await lazy.read()
        assert [entry["event"]["step"] for entry in told] == [*range(2, 3 * BEHIND + 1, 2)]

    run(act)


def test_who_does_not_read_gets_a_snapshot_instead_of_what_it_missed(services: HostServices) -> None:
    async def act() -> None:
        lazy, busy = Reader(services), Reader(services)
        await lazy.missed(), await busy.missed()
        seen = 0
        for number in range(1, 5 * BEHIND + 1):
            step(services, number)
            if number % 100 == 0:
                seen += len(await busy.read())
            (held,) = [len(f.events) for f in services.log._followers if f.lost or len(f.events) > 100] or [0]
            assert held <= BEHIND
        assert seen == 5 * BEHIND
        (told,) = await lazy.read()
        assert told["event"]["event"] == "snapshot" and told["number"] == 5 * BEHIND
        step(services, 0)
        assert [entry["number"] for entry in await lazy.read()] == [5 * BEHIND + 1]

    run(act)


def test_of_previews_only_the_newest_waits_and_none_is_kept(services: HostServices) -> None:
    async def act() -> None:
        wanting, other, without = (
            Reader(services, previews=True),
            Reader(services, job=9, previews=True),
            Reader(services),
        )
        for reader in (wanting, other, without):
            await reader.missed()
        step(services, 1, job=5)
        for number in range(1000):
            services.log.show(5, Preview(index=0, step=number, data=b"picture %d" % number))
        told = await wanting.read()
        assert [entry["event"]["event"] for entry in told] == ["step", "preview"]
        preview = told[-1]
        assert (preview["number"], preview["job"], preview["event"]["step"]) == (1, 5, 999)
        assert base64.b64decode(preview["data"]) == b"picture 999"
        assert [entry["event"]["event"] for entry in await without.read()] == ["step"]
        step(services, 2, job=9)
        assert [entry["event"]["event"] for entry in await other.read()] == ["step"]
        assert [entry["number"] for entry in await Reader(services, 0, previews=True).missed()] == [1, 2]

    run(act)


def test_previews_of_many_jobs_do_not_pile_up_for_who_does_not_read(services: HostServices) -> None:
    async def act() -> None:
        lazy = Reader(services, previews=True)
        await lazy.missed()
        for job in range(1, 5001):
            services.log.show(job, Preview(index=0, step=1, data=bytes(8000)))
        told = await lazy.read()
        assert len(told) == PREVIEWS and told[-1]["job"] == 5000

    run(act)


def test_a_follower_that_leaves_is_forgotten_and_a_closed_log_ends_all(services: HostServices) -> None:
    async def act() -> None:
        stays, leaves = services.log.follow(None, None, False), services.log.follow(None, None, False)
        await anext(stays), await anext(leaves)
        assert services.log.watching == 2
        await leaves.aclose()
        assert services.log.watching == 1
        services.log.close()
        assert await asyncio.wait_for(anext(stays), 20) == b"event: end\n\n"
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(stays), 20)
        assert services.log.watching == 0

    run(act)


# --- a real host -----------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_fifty_followers_and_one_who_never_reads_get_along_with_the_host(
    start_host: StartHost, tmp_path: Any, pytestconfig: pytest.Config
) -> None:
    client = start_host(tmp_path, device="cpu")
    client.pause_queue()
    path = str(run_folder_of(tmp_path).socket)
    job = client.submit(submission("word " * 10_000)).id
    first = client.health().last_event

    async def act() -> None:
        streams = [await follow(path, first) for _ in range(50)]
        deaf = socket.socket(socket.AF_UNIX)
        deaf.connect(path)
        deaf.send(f"GET /v1/events?after={first} HTTP/1.1\r\nHost: sdterm\r\n\r\n".encode())
        while (await asyncio.to_thread(client.health)).watching < 51:
            pass
        slowest, times = 0.0, 2500 if pytestconfig.getoption("--all") else 60  # 2500 do not fit into its socket
        for number in range(times):
            began = time.monotonic()
            await asyncio.to_thread(client.pause if number % 2 == 0 else client.resume, job)
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 30.0, "nobody waits for who does not read"
        for reader, _ in streams:
            numbers: list[int] = []
            while len(numbers) < times:
                line = await asyncio.wait_for(reader.readline(), 20)
                if line.startswith(b"id: "):
                    numbers.append(int(line[4:]))
            assert numbers == list(range(first + 1, first + times + 1))
        if times > 1000:
            deaf.settimeout(20)
            heard = b""
            while b'"event":"snapshot"' not in heard:
                heard = heard[-30:] + deaf.recv(2**16)
        deaf.close()
        for _, writer in streams:
            writer.close()
        while (await asyncio.to_thread(client.health)).watching:
            pass

    run(act)


async def follow(path: str, after: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"GET /v1/events?after={after} HTTP/1.1\r\nHost: sdterm\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


def test_a_client_that_returns_sees_what_it_missed(start_host: StartHost, tmp_path: Any) -> None:
    client = start_host(tmp_path, device="cpu")
    client.pause_queue()
    one = client.submit(submission("one"))
    seen = client.health().last_event
    other = client.submit(submission("other"))
    client.cancel(one.id)
    client.cancel(other.id)
    told = (entry for entry in client.events(after=seen) if entry.job)  # extensions may be loaded meanwhile
    assert [(entry.job, entry.event.event) for entry in (next(told), next(told), next(told))] == [
        (other.id, "queued"),
        (one.id, "cancelled"),
        (other.id, "cancelled"),
    ]
