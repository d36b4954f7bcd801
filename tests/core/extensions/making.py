"""Extensions, archives and wheels for tests, as strangers make them."""

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SAVER = """
from sdterm.hooks import OutputSaver, hookimpl
@hookimpl
def sdterm_output_savers():
    return [OutputSaver({id!r}, {id!r}, '.x', lambda image, infotext: {says})]
"""


def saver(id: str, says: str = "b''") -> str:
    """The code of a plugin that gives an output saver, which writes what the expression `says` says."""
    return SAVER.format(id=id, says=says)


def folder(place: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return place


def zip_of(place: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return place


def tar_of(place: Path, files: Mapping[str, bytes], mode: str = "w:gz", *others: tarfile.TarInfo) -> Path:
    with tarfile.open(place, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in others:
            archive.addfile(info)
    return place


def wheel(
    place: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    *,
    needs: Sequence[str] = (),
    announces: str = "",
) -> Path:
    """A wheel. announces: the lines of its entry point group `sdterm`."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: For tests\n"
    content = dict(files) | {
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if announces:
        content[f"{info}/entry_points.txt"] = f"[sdterm]\n{announces}\n"
    record = "".join(f"{path},{_hash(text)},{len(text.encode())}\n" for path, text in content.items())
    place.mkdir(parents=True, exist_ok=True)
    return zip_of(
        place / f"{name}-{version}-py3-none-any.whl", content | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}
    )


def _hash(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
