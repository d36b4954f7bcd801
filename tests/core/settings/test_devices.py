"""Which devices a host draws on. The cards are a stand-in: this is about counting them, not about drawing."""

import pytest

from sdterm.core.settings import devices
from sdterm.core.settings.devices import DeviceNameError, devices_of


@pytest.fixture
def four_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_cards", lambda: 4)


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, (None, "cuda:1", "cuda:2", "cuda:3")),
        ("2", (None,)),
        ("3,1", (None, "cuda:1")),
        ("GPU-8932f937,MIG-1", (None, "cuda:1")),
        ("0,-1,2", (None,)),  # CUDA stops reading at the first that is none
        ("", (None,)),
        ("-1", (None,)),
        ("0,1,2,3,4,5", (None, "cuda:1", "cuda:2", "cuda:3")),
    ],
)
def test_without_a_setting_it_is_torchs_choice_and_every_further_card(
    four_cards: None, visible: str | None, found: tuple[str | None, ...]
) -> None:
    assert devices_of(None, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}) == found


def test_a_setting_names_one_or_several(four_cards: None) -> None:
    assert devices_of("cuda:1", {}) == ("cuda:1",)
    assert devices_of("cuda:0, cuda:2", {}) == ("cuda:0", "cuda:2")
    assert devices_of("cpu", {"CUDA_VISIBLE_DEVICES": "0"}) == ("cpu",)


@pytest.mark.parametrize("setting", ["gpu 1", "cuda:", "cuda:0,", "cuda:-1", "\x1b[31m", ",".join(["cpu"] * 65)])
def test_what_names_none_is_refused(setting: str) -> None:
    with pytest.raises(DeviceNameError, match="must be cpu, cuda"):
        devices_of(setting, {})


def test_a_machine_without_cards_lets_torch_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_cards", lambda: 0)
    assert devices_of(None, {}) == (None,)


def test_several_processes_on_the_cpu_have_names_and_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices_of("cpu,cpu", {}) == ("cpu:0", "cpu:1")
    assert devices_of("cuda:0,cpu", {}) == ("cuda:0", "cpu")
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {*range(16)}, raising=False)
    assert devices.threads_each(("cpu:0", "cpu:1"), {}) == 4
    assert devices.threads_each(("cpu:0", "cpu:1", "cpu:2"), {}) == 2
    assert devices.threads_each(("cpu", "cuda:0"), {}) is None
    assert devices.threads_each(("cpu:0", "cpu:1"), {"OMP_NUM_THREADS": "3"}) is None, "who says it has said it"


def test_a_device_that_is_named_twice_is_refused() -> None:
    with pytest.raises(DeviceNameError, match="names cuda:1 twice"):
        devices_of("cuda:1,cuda:1", {})
