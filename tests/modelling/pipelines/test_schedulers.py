"""Which schedulers step a pipeline."""

from sdterm.modelling.pipelines.schedulers import accepted, changed, options

FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "use_dynamic_shifting": False}
EPS = {"_class_name": "PNDMScheduler", "prediction_type": "epsilon"}


def test_a_diffusion_model_takes_what_diffusers_calls_compatible_its_own_first() -> None:
    found = accepted(EPS)
    assert next(iter(found)) == "PNDM"
    assert {"DDIM", "EulerAncestralDiscrete", "DPMSolverMultistep", "UniPCMultistep"} <= found.keys()
    assert found["EulerDiscrete"] == ("Karras", "Exponential", "Beta") and not found["PNDM"]


def test_a_flow_model_takes_those_that_know_flows_and_are_told_noise_levels_as_its_own_is() -> None:
    found = accepted(FLOW)
    assert next(iter(found)) == "FlowMatchEulerDiscrete" and "UniPCMultistep" in found
    assert not {"DDIM", "EulerDiscrete", "FlowMatchHeunDiscrete", "Helios"} & found.keys()
    with_dpm = accepted({"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction"})
    assert {"FlowMatchEulerDiscrete", "UniPCMultistep"} <= with_dpm.keys() and "DDIM" not in with_dpm


def test_the_shift_is_an_option_where_it_does_not_follow_from_the_size() -> None:
    assert [(option.name, option.default) for option in options(FLOW)] == [("shift", 3.0)]
    assert not options(FLOW | {"use_dynamic_shifting": True}) and not options(EPS)


def test_another_scheduler_is_told_what_the_model_predicts_and_how_far_it_is_shifted() -> None:
    assert changed(FLOW, "UniPCMultistepScheduler", "Automatic", {}) == {
        "use_flow_sigmas": True,
        "prediction_type": "flow_prediction",
        "flow_shift": 3.0,
    }
    assert changed(FLOW, "FlowMatchEulerDiscreteScheduler", "Karras", {"shift": 1.5}) == {
        "shift": 1.5,
        "use_karras_sigmas": True,
        "use_exponential_sigmas": False,
        "use_beta_sigmas": False,
    }


def test_a_scheduler_of_another_shape_is_its_own_alone() -> None:
    assert accepted({"_class_name": "TomorrowScheduler"}) == {"Tomorrow": ()}
    assert accepted({}) == {}
