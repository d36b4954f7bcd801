"""What `sdterm doctor` looks at, each by itself."""

from pathlib import Path

import pytest

from sdterm.cli.health import processor


@pytest.mark.parametrize(
    ("flags", "precision", "status"),
    [("sse2 avx512_bf16", "auto", ["note"]), ("amx_bf16", "bf16", ["ok"]), ("sse2 avx2", "auto", [])],
)
def test_a_processor_with_units_for_bf16_is_named(
    flags: str, precision: str, status: list[str], tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name\t: X\nflags\t\t: fpu {flags}\n")
    checks = list(processor(tmp_path / "cpuinfo", precision))
    assert [check.status for check in checks] == status
    assert all(bool(check.fix) == (check.status == "note") for check in checks)
    assert list(processor(tmp_path / "none", precision)) == []
