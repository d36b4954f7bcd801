"""Pictures of a host on another machine: what is brought here, and what must not be taken for a file of this one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sdterm.cli.fetching import Fetching, fetched
from sdterm.cli.follow import follow
from sdterm.client import Client, HostError, reach
from sdterm.core.settings.settings import resolve
from sdterm.events import Cancelled, Event, Image
from tests.host.access.serving import Line, Served, served
from tests.host.conftest import submission


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "there") as it:
        yield it


@pytest.fixture
def host(there: Served) -> Iterator[Client]:
    with reach(there.remote("generate")) as client:
        yield client


class Shown:
    """Keeps what is shown."""

    wants_previews = False

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __enter__(self) -> "Shown":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, event: Event) -> None:
        self.events.append(event)


def image(path: Path, index: int = 0) -> Image:
    return Image(index=index, seed=1, width=8, height=8, infotext="lake", suffix=".png", data=b"", path=str(path))


def saved(there: Served, job: int, path: Path, number: int = 0) -> None:
    """A picture of the gallery there, whose event is told."""
    sql = (
        "INSERT INTO pictures (job, number, kind, path, digest, saved, seed, width, height, infotext)"
        " VALUES (?, ?, 'image', ?, '', 1, '1', 8, 8, 'lake')"
    )
    there.do(lambda services: services.database.execute(sql, job, number, str(path)) and None)
    there.do(lambda services: services.log.add(job, image(path, number)))


def test_a_path_of_the_other_machine_is_never_one_of_this(
    there: Served, host: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A far host names a file that is here, and one of its own that is gone; the job is followed to its end."""
    job = host.submit(submission(paused=True)).id
    private = tmp_path / "private.png"
    private.write_bytes(b"mine")
    there.do(lambda services: services.log.add(job, image(private)))
    saved(there, job, tmp_path / "there" / "outputs" / "gone.png", 1)
    host.cancel(job)
    shown = Shown()
    settings = resolve({}, {"SDTERM_DATA": str(tmp_path / "here")})
    follow(host, job, shown, settings, on_interrupt=lambda: None)
    assert [event.path for event in shown.events if isinstance(event, Image)] == [None, None]
    assert isinstance(shown.events[-1], Cancelled)
    said = capsys.readouterr().err
    assert f"stays on the other machine, as {private}: it is not in the gallery there." in said
    assert "gone.png" in said and "private.png" in said


def test_a_picture_that_is_here_is_not_written_again(there: Served, host: Client, tmp_path: Path) -> None:
    job = host.submit(submission(paused=True)).id
    path = there.root / "outputs" / "lake.png"
    path.write_bytes(b"a lake")
    saved(there, job, path)
    (picture,) = host.pictures(job=job).pictures
    here = tmp_path / "here"
    here.mkdir()
    (here / "lake.png").write_bytes(b"another")
    for _ in range(2):
        assert fetched(host, picture, here) == here / "lake-2.png"
    assert sorted(each.name for each in here.iterdir()) == ["lake-2.png", "lake.png"]
    assert (here / "lake-2.png").read_bytes() == b"a lake"


def test_a_line_that_breaks_while_a_picture_comes_is_told(there: Served, tmp_path: Path) -> None:
    """So the event is asked for again."""
    line = Line(there.port)
    remote = there.remote("generate")
    with reach(type(remote)(line.url, remote.token)) as host:
        job = host.submit(submission(paused=True)).id
        line.close()
        with pytest.raises(HostError):
            Fetching(job, tmp_path).brought(host, image(tmp_path / "a.png"))
