"""A measurement leaves everything as it was, whatever it does and however it ends."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from deepscope.core import MeasurementError
from deepscope.subject import Subject, undisturbed

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")


class Restless(nn.Module):
    """Changes itself in every way that a forward pass is known to."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm, self.drop = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("table", torch.arange(4.0))
        self.register_buffer("cache", None)
        self.register_buffer("behind", torch.ones(3))
        self.register_buffer("nan", torch.full((2,), float("nan")))
        self.longest, self.seen, self.memo = 4, [], {}

    def forward(self, x):
        self.calls += 1
        self.cache = x.detach()
        self.table = torch.arange(9.0)
        self.longest = 9
        self.behind.data.mul_(2)
        self.nan.zero_()
        self.register_buffer("new", torch.ones(1), persistent=False)
        self.linear.register_forward_hook(lambda *_: None)
        self.seen.append(1)
        self.memo["x"] = 1
        self.norm.momentum = 0.5
        return self.drop(self.norm(self.linear(x))) + self.frozen(x)


def hooked(model):
    """Hooks of every kind, mixed modes, and gradients."""
    model.linear.register_forward_hook(lambda *_: None)
    model.linear.register_forward_hook(lambda *_, **__: None, with_kwargs=True, always_call=True)
    model.linear.register_forward_pre_hook(lambda *_: None)
    model.linear.register_full_backward_hook(lambda *_: None)
    model.linear.register_full_backward_pre_hook(lambda *_: None)
    model.linear.weight.register_hook(lambda grad: grad)
    model.linear.weight.register_post_accumulate_grad_hook(lambda _: None)
    model.register_state_dict_post_hook(lambda *_: None)
    model.train()
    model.norm.eval()
    model.linear.weight.grad = torch.randn(3, 3)
    return model


_HOOKS = [
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs"),
    *("_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called", "_state_dict_hooks", "_state_dict_pre_hooks"),
    *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
]


def state_of(model):
    """All that must not change: values as bytes, everything else as identity."""

    def values(tensor):
        return id(tensor), tensor.dtype, tuple(tensor.shape), tensor.detach().contiguous().numpy().tobytes()

    state = {}
    for name, module in model.named_modules():
        state[name, "mode"] = module.training
        state[name, "full backward"] = module._is_full_backward_hook
        for hooks in _HOOKS:
            state[name, hooks] = list(getattr(module, hooks).items())
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        state[name] = values(parameter), parameter.requires_grad, None if gradient is None else values(gradient)
        for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"):
            state[name, hooks] = list((getattr(parameter, hooks) or {}).items())
    for name, buffer in model.named_buffers():
        state[name] = values(buffer)
    state["keys"] = list(model.state_dict()), list(model._buffers), set(model._non_persistent_buffers_set)
    if isinstance(model, Restless):
        state["cache"] = model.cache
        state["plain"] = model.longest, list(model.seen), dict(model.memo), model.norm.momentum
    return state


def generators():
    numpy = np.random.get_state()  # noqa: NPY002
    return random.getstate(), (numpy[0], numpy[1].tolist(), *numpy[2:]), torch.get_rng_state().tolist()


def measure(model):
    """Do all that an instrument may do."""
    assert all(parameter.grad is None for parameter in model.parameters())
    for _ in range(2):
        model(torch.randn(4, 3)).sum().backward()
    for parameter in model.parameters():
        parameter.requires_grad_(not parameter.requires_grad)
    for module in model.modules():
        module.register_forward_pre_hook(lambda *_: None)
        module.register_full_backward_hook(lambda *_: None)
        module.register_load_state_dict_post_hook(lambda *_: None)
        module.train(not module.training)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda grad: grad)
            parameter.register_post_accumulate_grad_hook(lambda _: None)
    model.norm.running_mean = torch.ones(3)
    random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002


@pytest.mark.parametrize("make", [Restless, lambda: hooked(Restless())], ids=["plain", "hooked"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, GeneratorExit])
def test_everything_is_as_before(make, training, error):
    model = make()
    before, drawn = state_of(model), generators()
    try:
        with undisturbed(model, training=training):
            measure(model)
            assert state_of(model) != before
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt, GeneratorExit) as caught:
        assert type(caught) is error  # noqa: PT017 - GeneratorExit is no Exception for pytest.raises' callers
    else:
        assert error is None
    assert state_of(model) == before
    assert generators() == drawn


def test_a_hook_of_the_user_still_works_and_can_still_be_removed():
    model, seen = nn.Linear(3, 3), []
    handle = model.register_forward_hook(lambda *_: seen.append("module"))
    tensor_handle = model.weight.register_hook(lambda grad: seen.append("tensor"))
    with undisturbed(model):
        pass
    model(torch.ones(1, 3)).sum().backward()
    assert seen == ["module", "tensor"]
    handle.remove()
    tensor_handle.remove()
    model(torch.ones(1, 3)).sum().backward()
    assert seen == ["module", "tensor"]


def test_a_hook_that_was_left_behind_no_longer_runs():
    model, seen = nn.Linear(3, 3), []
    with undisturbed(model):
        model.weight.register_hook(lambda grad: seen.append("tensor"))
        model.weight.register_post_accumulate_grad_hook(lambda _: seen.append("accumulated"))
        model.register_full_backward_hook(lambda *_: seen.append("module"))
    model(torch.ones(1, 3)).sum().backward()
    assert seen == []
    # Refused by torch on a module that has ever had a full backward hook.
    model.register_backward_hook(lambda *_: None)


@pytest.mark.parametrize("training", [False, True])
def test_inside_modes_and_generators_are_set(training):
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    with undisturbed(model, training=training, seed=5):
        assert [module.training for module in model.modules()] == [training] * 3
        first = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002
    torch.rand(7)
    with undisturbed(model, seed=5):
        assert (random.random(), np.random.rand(), torch.rand(1).item()) == first  # noqa: NPY002
    with undisturbed(model, seed=6):
        assert torch.rand(1).item() != first[2]


@pytest.mark.parametrize("seed", [0, 2**32, 2**63 - 1])
def test_any_derived_seed_will_do(seed):
    with undisturbed(None, seed=seed):
        pass


def in_place(model):
    with torch.no_grad():
        model[1].weight.add_(0)


def other_data(model):
    model[1].weight.data = model[1].weight.data.clone()


def other_storage(model):
    with torch.no_grad():
        model[1].weight.set_(torch.ones(3, 3))


def a_step(model):
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(2, 3)).sum().backward()
    optimiser.step()


@pytest.mark.parametrize("change", [in_place, other_data, other_storage, a_step])
def test_a_changed_parameter_is_caught_by_name(change):
    model = nn.Sequential(nn.ReLU(), nn.Linear(3, 3))
    drawn = generators()
    with pytest.raises(MeasurementError, match=r"parameters were changed.*1\.weight"), undisturbed(model):
        change(model)
    assert generators() == drawn
    assert model.training


def test_a_replaced_parameter_is_put_back():
    model = nn.Linear(3, 3)
    weight = model.weight
    with undisturbed(model):
        model.weight = nn.Parameter(torch.zeros(3, 3))
        model.extra = nn.Linear(1, 1)
    assert model.weight is weight
    assert [name for name, _ in model.named_parameters()] == ["weight", "bias"]


def change_and_fail(model):
    model.weight.data = torch.zeros(3, 3)
    raise ZeroDivisionError


def test_an_error_of_the_measurement_is_not_hidden_by_a_change():
    model = nn.Linear(3, 3)
    with pytest.raises(ZeroDivisionError), undisturbed(model):
        change_and_fail(model)


def test_contexts_nest():
    model = hooked(Restless())
    before, drawn = state_of(model), generators()
    with undisturbed(model, training=True, seed=1):
        model(torch.randn(4, 3)).sum().backward()
        inner, inner_drawn = state_of(model), generators()
        with undisturbed(model, seed=2):
            assert model.linear.weight.grad is None
            measure(model)
        assert state_of(model) == inner
        assert generators() == inner_drawn
        with pytest.raises(ValueError, match="mine"), undisturbed(model):
            raise ValueError("mine")
        assert state_of(model) == inner
    assert state_of(model) == before
    assert generators() == drawn


def test_a_graph_of_the_caller_survives():
    """Buffers that did not change are not written, so that torch does not see them as changed."""
    model = nn.BatchNorm1d(3).eval()
    total = model(torch.randn(4, 3, requires_grad=True)).sum()
    with undisturbed(model):
        model(torch.ones(2, 3))
    total.backward()


def test_inference_tensors():
    with torch.inference_mode():
        model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with undisturbed(model, training=True), torch.inference_mode():
        model(torch.randn(4, 3))
        assert not torch.equal(model[1].running_mean, before["1.running_mean"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_a_scripted_module():
    model = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with undisturbed(model):
        assert not model.training
    assert model.training
    with undisturbed(model, training=True):
        model(torch.randn(4, 3))
        assert not torch.equal(model.state_dict()["1.running_mean"], before["1.running_mean"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.complex64, torch.bool])
def test_buffers_of_any_type(dtype):
    model = nn.Module()
    model.register_buffer("b", torch.ones(2, 2).to(dtype))
    before = model.b.view(torch.uint8).clone()
    with undisturbed(model):
        model.b.zero_()
    assert torch.equal(model.b.view(torch.uint8), before)


def test_a_buffer_that_changed_its_shape():
    model = nn.Module()
    model.register_buffer("b", torch.arange(3.0))
    buffer = model.b
    with undisturbed(model):
        model.b.resize_(5)
    assert model.b is buffer
    assert model.b.tolist() == [0, 1, 2]


def test_a_subject_without_a_model_keeps_the_generators():
    drawn = generators()
    with undisturbed(None):
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    assert generators() == drawn


def test_the_subject_offers_the_same():
    subject = Subject(hooked(Restless()))
    before = state_of(subject.model)
    with subject.undisturbed(training=True, seed=3):
        measure(subject.model)
    assert state_of(subject.model) == before
