"""Questions to a host that is not there yet."""

import asyncio
import socket
import threading
import time
from pathlib import Path

import pytest
from textual.message import Message

from sdterm.api import Queue
from sdterm.client import Client, HostError
from sdterm.core.settings.settings import resolve
from sdterm.tui.link import Link
from sdterm.tui.messages import HostLost, HostUp
from tests.host.running import Running, running

WITHIN = 60.0  # seconds


def test_questions_without_a_host_hold_up_no_other_work(tmp_path: Path) -> None:
    link = Link(resolve({}, {"SDTERM_DATA": str(tmp_path)}), lambda message: None)

    async def scenario() -> None:
        questions = [asyncio.create_task(link.call(lambda host: host.queue())) for _ in range(100)]
        async with asyncio.timeout(WITHIN):
            await asyncio.gather(*(asyncio.to_thread(int) for _ in range(100)))
            assert not any(question.done() for question in questions)
            link.close()
            answers = await asyncio.gather(*questions, return_exceptions=True)
        assert all(isinstance(answer, HostError) for answer in answers)
        with pytest.raises(HostError, match="closing"):
            await link.call(lambda host: host.queue())

    asyncio.run(scenario())


@pytest.mark.heavy
def test_they_are_answered_once_it_is_there(tmp_path: Path) -> None:
    async def scenario(host: Running) -> None:
        link = Link(host.settings, lambda message: None)
        questions = [asyncio.create_task(link.call(lambda host: host.queue())) for _ in range(20)]
        given_up, *rest = questions
        await asyncio.sleep(0)  # until they wait
        given_up.cancel()
        link.open()
        async with asyncio.timeout(WITHIN):
            answers = await asyncio.gather(*rest)
        link.close()
        assert all(isinstance(answer, Queue) for answer in answers) and given_up.cancelled()

    with running(tmp_path) as host:
        asyncio.run(scenario(host))


def test_another_machine_that_does_not_answer_is_asked_ever_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdterm.tui.link._AGAIN", 0.05)
    token = tmp_path / "token"
    token.write_text(f"sdterm_{43 * 'x'}")
    token.chmod(0o600)
    seldom = threading.Event()

    def hang_up() -> None:
        before = time.monotonic()
        while not seldom.is_set():
            server.accept()[0].close()
            if time.monotonic() - before > 1:
                seldom.set()
            before = time.monotonic()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=hang_up, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings = resolve(
            {}, {"SDTERM_DATA": str(tmp_path), "SDTERM_CONNECT": address, "SDTERM_TOKEN_FILE": str(token)}
        )
        link = Link(settings, lambda message: None)
        link.open()
        assert seldom.wait(WITHIN)
        link.close()


@pytest.mark.heavy
def test_a_host_that_is_lost_before_it_is_asked_is_no_defect(tmp_path: Path) -> None:
    lost, found_again = threading.Event(), threading.Event()

    def tell(message: Message) -> None:
        if isinstance(message, HostLost):
            lost.set()
        elif isinstance(message, HostUp) and lost.is_set():
            found_again.set()

    def late(host: Client) -> Queue:
        lost.wait(WITHIN)
        return host.queue()

    async def scenario(host: Running) -> None:
        link = Link(host.settings, tell)
        link.open()
        await link.call(lambda host: host.queue())
        question = asyncio.create_task(link.call(late))
        await asyncio.to_thread(host.kill_host)
        with pytest.raises(HostError, match=r"\A\Z"):
            await asyncio.wait_for(question, WITHIN)
        assert await asyncio.to_thread(found_again.wait, WITHIN)  # so that no host is started behind the test's end
        link.close()

    with running(tmp_path) as host:
        asyncio.run(scenario(host))
