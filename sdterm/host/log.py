"""The one ordered, numbered stream of events: kept on disk, followed by any number of clients.

A client that reads slowly never holds up who writes: past a bound, what it missed is replaced by a snapshot of the
state of everything.
"""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from sdterm.api import LAST, Entry, Snapshot
from sdterm.events import Event, Preview
from sdterm.host.database import Database

KEPT = 50_000
"""Events on disk; who missed more than that gets a snapshot."""
BEHIND = 1000
BEHIND_BYTES = 2 * 2**20
"""What waits for a client before it gets a snapshot instead."""
PREVIEWS = 16
"""Jobs of which a preview waits for a client; the oldest makes room."""
_PAGE = 500
_KEEPALIVE = 15.0  # seconds
_LAST = f"event: {LAST}\n\n".encode()


class _Follower:
    """One client's unsent events: at most `BEHIND` of them, `BEHIND_BYTES` in all, and one preview a job of at most
    `PREVIEWS` jobs."""

    def __init__(self, job: int | None, previews: bool) -> None:
        self.job = job
        self.wants_previews = previews
        self.events: list[bytes] = []
        self.size = 0  # bytes
        self.last = 0  # the number of the newest that was taken up
        self.previews: dict[int, bytes] = {}
        self.lost = False
        self.news = asyncio.Event()

    def offer(self, number: int, text: bytes) -> None:
        if len(self.events) >= BEHIND or self.size + len(text) > BEHIND_BYTES:
            self.take()
            self.lost = True
        if not self.lost:
            self.events.append(text)
            self.size += len(text)
            self.last = number
        self.news.set()

    def take(self) -> list[bytes]:
        """The unsent events, which are somebody else's now."""
        taken, self.events, self.size = self.events, [], 0
        return taken

    def take_previews(self) -> list[bytes]:
        taken, self.previews = [*self.previews.values()], {}
        return taken

    def show(self, job: int, text: bytes) -> None:
        self.previews.pop(job, None)
        if len(self.previews) >= PREVIEWS:
            del self.previews[next(iter(self.previews))]
        self.previews[job] = text
        self.news.set()


class EventLog:
    """Writes events and tells them to followers.

    clock: seconds since 1970. snapshot: the state of everything, now.
    """

    def __init__(self, database: Database, clock: Callable[[], float], snapshot: Callable[[], Snapshot]) -> None:
        self._database, self._clock, self._snapshot = database, clock, snapshot
        self._followers: set[_Follower] = set()
        self._closed = False
        found = database.row("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        self.last: int = found[0] if found else 0

    @property
    def watching(self) -> int:
        """How many clients follow."""
        return len(self._followers)

    def add(self, job: int | None, event: Event) -> int:
        """Write an event, as part of the transaction under way if there is one; it is told once that is committed.
        Returns its number."""
        at = self._clock()
        with self._database.transaction(durable=False):
            text = event.model_dump_json()
            added = self._database.execute("INSERT INTO events (at, job, event) VALUES (?, ?, ?)", at, job, text)
            number = added.lastrowid or 0
            self._database.execute("DELETE FROM events WHERE number = ?", number - KEPT)
            self._database.afterwards(lambda: self._tell(Entry(number=number, at=at, job=job, event=event)))
        return number

    def add_once(self, job: int, event: Event) -> None:
        """The same, unless it was said of that job before."""
        said = "SELECT 1 FROM events WHERE job = ? AND event = ?"
        if not self._database.row(said, job, event.model_dump_json()):
            self.add(job, event)

    def last_step(self, job: int, batch: int, pass_no: int) -> int:
        """The newest step told of a batch in a pass; 0 if none was, or none is kept."""
        row = self._database.row(
            "SELECT json_extract(event, '$.step') FROM events WHERE job = ? AND json_extract(event, '$.event') = 'step'"
            " AND json_extract(event, '$.batch') = ? AND coalesce(json_extract(event, '$.pass_no'), 0) = ?"
            " ORDER BY number DESC LIMIT 1",
            job,
            batch,
            pass_no,
        )
        return int(row[0]) if row else 0

    def described(self, job: int) -> list[str]:
        """What a job said of its pictures, in their order."""
        rows = self._database.rows(
            "SELECT json_extract(event, '$.text') AS text FROM events WHERE job = ?"
            " AND json_extract(event, '$.event') = 'described' ORDER BY json_extract(event, '$.index'), number",
            job,
        )
        return [row["text"] for row in rows]

    def show(self, job: int, preview: Preview) -> None:
        """Tell a preview to who wants previews; it is not kept, and a newer one takes its place."""
        entry = Entry(number=self.last, at=self._clock(), job=job, event=preview)
        text = None
        for follower in self._followers:
            if follower.wants_previews and follower.job in (None, job):
                text = text or _preview_text(entry, preview)
                follower.show(job, text)

    def close(self) -> None:
        """Let all followers come to their end."""
        self._closed = True
        for follower in self._followers:
            follower.news.set()

    async def follow(
        self, after: int | None, job: int | None, previews: bool, keepalive: float = _KEEPALIVE
    ) -> AsyncGenerator[bytes, None]:
        """The events after that number (unset: from now on), of one job or all, as server-sent events, for ever.
        keepalive: seconds of silence after which there is a comment. The last of all says that the host ends."""
        follower = _Follower(job, previews)
        sent = self.last if after is None else after
        kept = self._kept_since(job)
        if sent > self.last or sent + 1 < kept:
            sent = kept - 1 if job else self.last  # of one job, what is kept follows
            yield self._snapshot_text(sent)
        try:
            while not self._closed:
                while sent < self.last:  # a page at a time, as fast as the client reads
                    page, sent = self._page(sent, job)
                    if page:
                        yield page
                self._followers.add(follower)  # nothing has been awaited since the last look
                yield KEEPALIVE_COMMENT  # tells the client that it is there
                while not (self._closed or follower.lost):
                    try:
                        await asyncio.wait_for(follower.news.wait(), keepalive)
                    except TimeoutError:
                        yield KEEPALIVE_COMMENT
                        continue
                    follower.news.clear()
                    events, shown = follower.take(), follower.take_previews()
                    if events or shown:
                        sent = max(sent, follower.last)
                        yield b"".join((*events, *shown))
                if follower.lost:
                    self._followers.discard(follower)
                    follower.lost = False
                    if not job:  # of one job, the disk has what was missed
                        sent = self.last
                        yield self._snapshot_text(sent)
            yield _LAST
        finally:
            self._followers.discard(follower)

    def _kept_since(self, job: int | None) -> int:
        """The first number from which on all events, of a job or of all, are kept."""
        oldest = self._database.row("SELECT min(number) FROM events")
        kept = int(oldest[0] or 0) if oldest else 0
        first = self._database.row("SELECT first_event FROM jobs WHERE id = ?", job) if job else None
        return 0 if first and (first[0] or 0) >= kept else kept

    def _page(self, after: int, job: int | None) -> tuple[bytes, int]:
        """Some of what is kept after that number, and the number up to which that is all."""
        only, values = ("AND job = ?", (after, job)) if job else ("", (after,))
        sql = f"SELECT number, at, job, event FROM events WHERE number > ? {only} ORDER BY number LIMIT {_PAGE}"
        texts: list[bytes] = []
        size = 0
        for row in self._database.execute(sql, *values):
            texts.append(_text_of(row["number"], row["at"], row["job"], row["event"]))
            size += len(texts[-1])
            if len(texts) == _PAGE or size > BEHIND_BYTES:
                return b"".join(texts), row["number"]
        return b"".join(texts), self.last

    def _tell(self, entry: Entry) -> None:
        self.last = entry.number
        text = None
        for follower in self._followers:
            if follower.job in (None, entry.job):
                text = text or _text(entry)
                follower.offer(entry.number, text)

    def _snapshot_text(self, number: int) -> bytes:
        return _text(Entry(number=number, at=self._clock(), job=None, event=self._snapshot()))


def _text(entry: Entry) -> bytes:
    return format_sse_event(data_str=entry.model_dump_json(), id=str(entry.number))


def _text_of(number: int, at: float, job: int | None, event: str) -> bytes:
    """The same from what is kept, without reading the event."""
    data = f'{{"number":{number},"at":{json.dumps(at)},"job":{json.dumps(job)},"event":{event}}}'
    return format_sse_event(data_str=data, id=str(number))


def _preview_text(entry: Entry, preview: Preview) -> bytes:
    data = entry.model_dump(mode="json") | {"data": base64.b64encode(preview.data).decode()}
    return format_sse_event(data_str=json.dumps(data), id=str(entry.number))
