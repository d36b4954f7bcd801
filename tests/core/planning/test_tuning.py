"""Plans are tried one after the other, and the fastest whose picture is near enough is taken."""

from sdterm.core.planning.tuning import Measured, Plan, fastest, tune

SECONDS = {
    "bf16": 5.0,
    "full": 10.0,
    "bf16, slices": 5.5,
    "bf16, fast": 3.0,
    "bf16, fast, wide": 2.5,
    "bf16, fast2": 1.0,
}


def measure(name: str, plan: Plan) -> Measured:
    if name == "half":
        return Measured(name, plan, reason="it is not there")
    apart = 30.0 if name == "bf16, fast2" else 50.0
    return Measured(name, plan, SECONDS.get(name, 10.0), psnr=apart if plan else float("inf"))


def test_an_optimizer_is_kept_where_it_is_faster_and_takes_the_place_of_its_groups() -> None:
    optimizers = {"slices": "attention", "fast": "speed", "fast2": "speed", "wide": "layout"}
    tried = tune(("full", "half", "bf16"), optimizers, measure, 40)
    names = ["auto", "full", "half", "bf16", "bf16, slices", "bf16, fast", "bf16, fast2", "bf16, fast, wide"]
    assert [each.name for each in tried] == names
    assert fastest(tried, 40).plan == {"precision": "bf16", "memory": ["fast", "wide"]}


def test_a_bound_that_nothing_meets_keeps_the_usual_plan() -> None:
    assert fastest(tune(("bf16",), {"fast": "speed"}, measure, 60), 60).name == "auto"


def test_what_is_faster_by_chance_alone_is_not_kept() -> None:
    def alike(name: str, plan: Plan) -> Measured:
        return Measured(name, plan, 10 if not plan else 9.9, psnr=60)

    tried = tune((), {"fast": "speed", "wide": "layout"}, alike, 40)
    assert [each.name for each in tried] == ["auto", "auto, fast", "auto, wide"]
