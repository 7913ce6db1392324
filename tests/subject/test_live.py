"""Handles of a live module's tensors."""

import pickle
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from deepscope.core import TargetError
from deepscope.subject import Subject


def roles(model):
    return {weight.name: str(weight.role) for weight in Subject(model).weights()}


class Named(nn.Module):
    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Linear(2, 3), {"weight": "linear", "bias": "bias"}),
        (nn.Conv1d(2, 3, 2), {"weight": "convolution", "bias": "bias"}),
        (nn.ConvTranspose2d(2, 3, 2), {"weight": "convolution", "bias": "bias"}),
        (nn.Embedding(3, 2), {"weight": "embedding"}),
        (nn.EmbeddingBag(3, 2), {"weight": "embedding"}),
        (nn.LayerNorm(2), {"weight": "norm", "bias": "bias"}),
        (nn.GroupNorm(1, 2), {"weight": "norm", "bias": "bias"}),
        (nn.RMSNorm(2), {"weight": "norm"}),
        (nn.InstanceNorm1d(2, affine=True), {"weight": "norm", "bias": "bias"}),
        (
            nn.BatchNorm1d(2),
            {"weight": "norm", "bias": "bias", "running_mean": "buffer", "running_var": "buffer",
             "num_batches_tracked": "buffer"},
        ),
        (nn.PReLU(), {"weight": "other"}),
        (nn.Bilinear(2, 3, 4), {"weight": "other", "bias": "bias"}),
        (
            nn.LSTM(2, 3, bidirectional=True, proj_size=2),
            {**{f"weight_{k}_l0{d}": "recurrent" for d in ("", "_reverse") for k in ("ih", "hh", "hr")},
             **{f"bias_{k}_l0{d}": "bias" for d in ("", "_reverse") for k in ("ih", "hh")}},
        ),
        (
            nn.GRU(2, 3),
            {"weight_ih_l0": "recurrent", "weight_hh_l0": "recurrent", "bias_ih_l0": "bias", "bias_hh_l0": "bias"},
        ),
        (
            nn.GRUCell(2, 3),
            {"weight_ih": "recurrent", "weight_hh": "recurrent", "bias_ih": "bias", "bias_hh": "bias"},
        ),
        (
            nn.MultiheadAttention(4, 2, add_bias_kv=True),
            {"in_proj_weight": "attention", "in_proj_bias": "bias", "bias_k": "bias", "bias_v": "bias",
             "out_proj.weight": "attention", "out_proj.bias": "bias"},
        ),
        (
            nn.MultiheadAttention(4, 2, kdim=3, vdim=5, bias=False),
            {"q_proj_weight": "attention", "k_proj_weight": "attention", "v_proj_weight": "attention",
             "out_proj.weight": "attention"},
        ),
        (Named(q_proj=nn.Linear(2, 2, bias=False)), {"q_proj.weight": "attention"}),
        (
            parametrizations.weight_norm(nn.Linear(4, 5, bias=False)),
            {"parametrizations.weight.original0": "other", "parametrizations.weight.original1": "linear"},
        ),
        (
            Named(a=parametrizations.weight_norm(nn.Conv2d(4, 5, 3, bias=False))),
            {"a.parametrizations.weight.original0": "other", "a.parametrizations.weight.original1": "convolution"},
        ),
        (
            parametrizations.orthogonal(nn.Embedding(4, 4)),
            {"parametrizations.weight.original": "embedding", "parametrizations.weight.0.base": "buffer"},
        ),
        (
            Named(r=parametrizations.weight_norm(nn.RNN(3, 4, bias=False), "weight_hh_l0")),
            {"r.weight_ih_l0": "recurrent", "r.parametrizations.weight_hh_l0.original0": "other",
             "r.parametrizations.weight_hh_l0.original1": "recurrent"},
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)  # fmt: skip
def test_roles(module, expected):
    assert roles(module) == expected


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_roles_under_the_old_weight_norm():
    assert roles(weight_norm(nn.Linear(4, 5))) == {"bias": "bias", "weight_g": "other", "weight_v": "linear"}


@pytest.mark.parametrize(
    ("module", "fan_in"),
    [
        (nn.Linear(4, 5), {"weight": 4}),
        (nn.Conv2d(4, 6, 3), {"weight": 36}),
        (nn.Conv2d(4, 6, 3, groups=2), {"weight": 18}),
        (nn.ConvTranspose2d(4, 6, (3, 2)), {"weight": 36}),
        (nn.LSTM(4, 6), {"weight_ih_l0": 6, "weight_hh_l0": 6}),
        (nn.Embedding(4, 6), {"weight": None}),
        (parametrizations.weight_norm(nn.Linear(4, 5)), {"parametrizations.weight.original0": None,
                                                         "parametrizations.weight.original1": 4}),
    ],
)  # fmt: skip
def test_fan_in_is_what_torch_initialises_by(module, fan_in):
    weights = {weight.name: weight for weight in Subject(module).weights()}
    assert {name: weights[name].fan_in for name in fan_in} == fan_in
    for weight in weights.values():
        if weight.fan_in and "original" not in weight.name:
            # The bound of the default initialisation; the largest of n values is within 7/n of it but for e^-7, and
            # the number here is fixed by nothing but the layer: it is never beyond.
            assert weight.read().abs().max() <= 1 / weight.fan_in**0.5
            assert weight.read().abs().max() >= 0.6 / weight.fan_in**0.5


def test_each_tensor_once_parameters_first_in_order():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))
    assert [weight.name for weight in Subject(model).weights()] == [
        *("0.weight", "0.bias", "1.weight", "1.bias", "0.running_mean", "0.running_var", "0.num_batches_tracked")
    ]


def shared_parameter():
    model = Named(embedding=nn.Embedding(7, 3), head=nn.Linear(3, 7, bias=False))
    model.head.weight = model.embedding.weight
    return model


def shared_memory():
    model = Named(embedding=nn.Embedding(7, 3), head=nn.Linear(3, 7, bias=False))
    model.head.weight.data = model.embedding.weight.data
    return model


@pytest.mark.parametrize("make", [shared_parameter, shared_memory])
def test_a_tied_tensor_is_listed_once_with_all_its_names(make):
    subject = Subject(make())
    (weight,) = subject.weights()
    assert (weight.name, weight.tied, str(weight.role)) == ("embedding.weight", ("head.weight",), "embedding")
    assert subject.left_out == (("head.weight", "the same tensor as embedding.weight"),)


def test_a_shared_module_is_listed_once():
    layer = nn.Linear(2, 2)
    subject = Subject(nn.Sequential(layer, nn.ReLU(), layer))
    assert [(weight.name, weight.tied) for weight in subject.weights()] == [
        ("0.weight", ("2.weight",)), ("0.bias", ("2.bias",)),
    ]  # fmt: skip
    assert [entry.name for entry in subject.left_out] == ["2.weight", "2.bias"]


def test_a_shared_buffer_is_listed_once_and_a_view_of_part_is_its_own():
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    table = torch.arange(6.0)
    model[0].register_buffer("table", table)
    model[1].register_buffer("table", table)
    model[1].register_buffer("part", table[:3])
    model[1].register_buffer("none", None)
    subject = Subject(model)
    assert [(weight.name, weight.tied) for weight in subject.weights()] == [("0.table", ("1.table",)), ("1.part", ())]


def test_empty_tensors_are_not_tied_to_each_other():
    model = nn.ParameterList([torch.empty(0, 3), torch.empty(0, 3)])
    assert [weight.tied for weight in Subject(model).weights()] == [(), ()]


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (torch.empty(0, 4), "no values (shape [0, 4])"),
        (torch.ones(3, 3, dtype=torch.int8), "int8 is not a floating-point"),
        (torch.ones(3, 3, dtype=torch.uint8), "uint8 is not a floating-point"),
        (torch.ones(3, 3, dtype=torch.complex64), "complex64 is not a floating-point"),
        (torch.ones(3, dtype=torch.bool), "bool is not a floating-point"),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, torch.Tensor) else "",
)
def test_what_cannot_be_measured_is_listed_with_the_reason(tensor, why):
    model = nn.Module()
    model.weight = nn.Parameter(tensor, requires_grad=False)
    (weight,) = Subject(model).weights()
    assert why in weight.why_not_measured
    assert weight.shape == tuple(tensor.shape)
    assert weight.nbytes == tensor.numel() * tensor.element_size()


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_floating_point_types_are_measured(dtype):
    model = nn.Module()
    model.weight = nn.Parameter(torch.ones(3, 3).to(getattr(torch, dtype)), requires_grad=False)
    (weight,) = Subject(model).weights()
    assert (weight.dtype, weight.why_not_measured) == (dtype, "")


def fsdp_like():
    class FlatParameter(nn.Parameter):
        pass

    model = nn.Module()
    model.flat = FlatParameter(torch.ones(3))
    return model


def dtensor_like():
    class DTensor(torch.Tensor):
        pass

    model = nn.Module()
    model.register_buffer("part", torch.ones(3).as_subclass(DTensor))
    return model


def sharded():
    model = nn.Linear(2, 2)
    model.weight._is_sharded = True
    return model


@pytest.mark.parametrize(
    ("make", "what", "where"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta")), "meta device", "1.weight"),
        (lambda: nn.Sequential(nn.LazyLinear(2)), "lazy", "0.weight"),
        (lambda: nn.Sequential(nn.LazyBatchNorm1d(affine=False)), "lazy", "0.running_mean"),
        (fsdp_like, "sharded over processes", "flat"),
        (dtensor_like, "sharded over processes", "part"),
        (sharded, "sharded over processes", "weight"),
    ],
)
def test_what_is_not_here_is_refused_with_its_name_and_a_way_out(make, what, where):
    with pytest.raises(TargetError, match=what) as caught:
        Subject(make())
    assert caught.value.where == where
    assert caught.value.todo


def test_a_lazy_module_is_measured_once_it_has_run():
    model = nn.LazyLinear(2)
    model(torch.ones(1, 3))
    assert Subject(model).weights()[0].shape == (2, 3)


def test_reading_is_no_copy_and_carries_no_gradient():
    model = nn.Linear(2, 2)
    tensor = Subject(model).weights()[0].read()
    assert tensor.data_ptr() == model.weight.data_ptr()
    assert not tensor.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_a_handle_goes_through_pickle(dtype):
    model = nn.Linear(3, 2)
    model.weight = nn.Parameter(model.weight.detach().to(dtype), requires_grad=False)
    before = Subject(model).weights()[0]
    after = pickle.loads(pickle.dumps(before))
    assert after == before
    assert after.read().dtype == dtype
    assert after.read().view(torch.uint8).tolist() == before.read().view(torch.uint8).tolist()


def test_a_handle_of_a_part_does_not_take_the_whole_along():
    model = nn.Module()
    model.register_buffer("part", torch.zeros(1_000_000)[:3])
    assert len(pickle.dumps(Subject(model).weights()[0])) < 10_000


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_a_scripted_module_has_the_same_tensors():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    plain, scripted = Subject(model), Subject(torch.jit.script(model))
    assert [weight.name for weight in scripted.weights()] == [weight.name for weight in plain.weights()]
    kinds = [Counter(str(w.role) == "buffer" for w in subject.weights()) for subject in (plain, scripted)]
    assert kinds[0] == kinds[1]
