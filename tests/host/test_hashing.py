"""Hashes in the background: of one file, of all, paused and stopped."""

import asyncio
import json
from pathlib import Path

from sdterm.core.library.checkpoints import Library
from sdterm.host.services import HostServices
from tests.core.library.test_hashes import LORAS, lora


def test_all_files_of_a_kind_are_hashed_once_and_what_was_asked_for_by_name_comes_first(
    services: HostServices, tmp_path: Path
) -> None:
    for number in range(20):
        lora(tmp_path / LORAS / f"{number}.safetensors", number)
    library = Library(tmp_path)

    async def hash_all() -> None:
        services.hasher.add(library.files("lora"))
        services.hasher.add([library.file("lora", "7")], asked=True)
        assert services.hasher.state.files == 20
        while services.hasher.is_busy:
            await asyncio.sleep(0.01)

    asyncio.run(hash_all())
    assert all(len(library.known([file])[0]["data"]) == 64 for file in library.files("lora"))
    rows = [json.loads(row["event"]) for row in services.database.rows("SELECT event FROM events ORDER BY number")]
    assert [row["model"] for row in rows if "model" in row] == ["7"]
    assert rows[-1]["done"] and rows[-1]["files_done"] == 20
    assert not services.hasher.state.files


def test_hashing_is_paused_goes_on_and_is_stopped_with_what_was_read_kept(
    services: HostServices, tmp_path: Path
) -> None:
    lora(tmp_path / LORAS / "small.safetensors")
    with (tmp_path / LORAS / "large.pt").open("wb") as file:
        file.truncate(2**40)  # nothing on the disk, hours to read
    lora(tmp_path / LORAS / "later.safetensors", 1)
    library = Library(tmp_path)
    small, large = library.file("lora", "small"), library.file("lora", "large")

    async def act() -> None:
        hasher = services.hasher
        hasher.add([small, large])
        while not hasher.state.bytes_done > small.size:
            await asyncio.sleep(0.01)
        hasher.pause()
        assert hasher.state.paused and not hasher.is_busy
        at = hasher.state.bytes_done
        await asyncio.sleep(0.1)
        assert hasher.state.bytes_done - at <= 2**20, "the block at hand at most"
        hasher.resume()
        while hasher.state.bytes_done <= at + 2**20:
            await asyncio.sleep(0.01)
        hasher.stop()
        hasher.add([library.file("lora", "later")])
        while hasher.is_busy:
            await asyncio.sleep(0.01)

    asyncio.run(act())
    known = library.known([small, large, library.file("lora", "later")])
    assert ["data" in each for each in known] == [True, False, True]
