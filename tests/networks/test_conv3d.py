"""Conv3d against torch's own: answers, gradients, second derivatives; and the way it goes."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from swath.networks.conv3d import Conv3d, without_groups
from swath.networks.tracing import traced

LAYOUT = torch.channels_last_3d
CHANNELS = 4


def pair(kernel, *, groups=1, outputs=CHANNELS, **options):
    """Return a layer and torch's with the same weights, in double precision."""
    torch.manual_seed(0)
    ours = Conv3d(CHANNELS, outputs, kernel, groups=groups, **options).double()
    theirs = nn.Conv3d(CHANNELS, outputs, kernel, groups=groups, **options).double()
    theirs.load_state_dict(ours.state_dict())
    return ours.to(memory_format=LAYOUT), theirs


def volume(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return x.contiguous(memory_format=LAYOUT)


def derivatives(layer, x, gradient):
    x = x.clone().requires_grad_()
    answer = layer(x)
    found = torch.autograd.grad(answer, [x, *layer.parameters()], gradient)
    return [answer.detach(), *found]


def agree(ours, theirs, x):
    gradient = torch.randn(theirs(x).shape, dtype=torch.float64)
    for got, wanted in zip(
        derivatives(ours, x, gradient), derivatives(theirs, x, gradient), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


odd = st.sampled_from([1, 3, 5, 7])


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.tuples(odd, odd, odd),
    dilation=st.tuples(*[st.integers(1, 6)] * 3),
    size=st.tuples(*[st.integers(1, 9)] * 3),
    batch=st.integers(1, 3),
)
def test_depthwise_kernels_of_any_size_and_dilation(kernel, dilation, size, batch):
    padding = tuple(d * (k // 2) for k, d in zip(kernel, dilation, strict=True))
    layers = pair(kernel, groups=CHANNELS, padding=padding, dilation=dilation, bias=False)
    agree(*layers, volume(batch, CHANNELS, *size))


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.tuples(odd, odd, odd),
    dilation=st.tuples(*[st.integers(1, 6)] * 3),
    size=st.tuples(*[st.integers(1, 9)] * 3),
)
def test_depthwise_kernels_as_on_a_gpu(kernel, dilation, size):
    padding = tuple(d * (k // 2) for k, d in zip(kernel, dilation, strict=True))
    ours, theirs = pair(kernel, groups=CHANNELS, padding=padding, dilation=dilation, bias=False)
    ours.forward = ours._depthwise_on_gpu
    agree(ours, theirs, volume(2, CHANNELS, *size))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_kernels_without_groups_see_the_same(groups):
    theirs = nn.Conv3d(CHANNELS, 8, 3, groups=groups).double()
    x = volume(2, CHANNELS, 5, 6, 7)
    full = without_groups(theirs.weight, groups)
    assert full.shape[:2] == (8, CHANNELS)
    answer = nn.functional.conv3d(x, full, theirs.bias)
    torch.testing.assert_close(answer, theirs(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [(5, 1, 1), (1, 3, 3), (3, 3, 3)])
def test_operations_are_counted_without_a_device(kernel):
    """Depthwise kernels cost what they cost, whatever a GPU makes of them."""
    ours, theirs = pair(kernel, groups=CHANNELS, padding=tuple(k // 2 for k in kernel), bias=False)
    x = volume(1, CHANNELS, 5, 6, 7).to("meta")
    counted = []
    for layer in (ours, theirs):
        with FlopCounterMode(display=False) as counter:
            layer.to("meta")(x)
        counted.append(counter.get_total_flops())
    assert counted[0] == counted[1] > 0


@settings(max_examples=60, deadline=None)
@given(
    axis=st.sampled_from(["space", "spectrum", "both"]),
    size=st.sampled_from([1, 2, 3, 5]),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    outputs=st.sampled_from([1, 4, 6]),
    bias=st.booleans(),
)
def test_full_kernels_of_any_stride_and_padding(
    axis, size, stride, padding, dilation, outputs, bias
):
    def along(value, other):
        space = value if axis != "spectrum" else other
        return (value if axis != "space" else other, space, space)

    layers = pair(
        along(size, 1),
        stride=along(stride, 1),
        padding=along(padding, 0),
        dilation=along(dilation, 1),
        outputs=outputs,
        bias=bias,
    )
    agree(*layers, volume(2, CHANNELS, 9, 10, 11))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 3, "padding": 1, "stride": (1, 2, 2)},
        {"kernel": (1, 3, 3), "padding": (1, 1, 1)},
        {"kernel": (3, 1, 1), "padding": (1, 1, 0), "stride": (2, 1, 2)},
        {"kernel": 3, "padding": 1, "groups": 2},
        {"kernel": 3, "padding": 0, "groups": 4},
        {"kernel": 2, "padding": 1, "groups": 4},
        {"kernel": 3, "padding": 1, "groups": 4, "outputs": 8},
        {"kernel": (1, 3, 3), "padding": "same"},
        {"kernel": (1, 3, 3), "padding": (0, 1, 1), "padding_mode": "circular"},
    ],
)
def test_what_has_no_fast_form_is_torchs(options):
    agree(*pair(**options), volume(2, CHANNELS, 6, 7, 8))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 3, "padding": 2, "dilation": 2, "groups": 4, "bias": False},
        {"kernel": (1, 5, 5), "padding": (0, 2, 2), "groups": 4, "bias": False},
        {"kernel": (3, 1, 1), "padding": (1, 0, 0), "groups": 4, "bias": False},
        {"kernel": (3, 1, 1), "stride": (2, 1, 1)},
        {"kernel": (1, 3, 3), "padding": (0, 1, 1)},
    ],
)
def test_second_derivatives(options):
    ours, theirs = pair(**options)
    x, direction = volume(2, CHANNELS, 5, 6, 7), volume(2, CHANNELS, 5, 6, 7, seed=1)

    def twice(layer):
        y = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(layer(y).sin().sum(), y, create_graph=True)
        return torch.autograd.grad((first * direction).sum(), [y, layer.weight])

    for got, wanted in zip(twice(ours), twice(theirs), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("groups", [1, 4])
def test_autocast_gives_what_torchs_gives(groups):
    ours = Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1), groups=groups, bias=False)
    theirs = nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1), groups=groups, bias=False)
    theirs.load_state_dict(ours.state_dict())
    ours.to(memory_format=LAYOUT)
    x = volume(2, 4, 5, 6, 7).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, wanted = ours(x), theirs(x)
    assert got.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(got, wanted, rtol=2e-2, atol=2e-2)
    got.float().square().mean().backward()
    wanted.float().square().mean().backward()
    assert ours.weight.grad.dtype == torch.float32
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=5e-2, atol=5e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": (1, 3, 3), "padding": (0, 1, 1)},
        {"kernel": (3, 1, 1), "padding": (1, 0, 0)},
        {"kernel": 1},
        {"kernel": (1, 5, 5), "padding": (0, 2, 2), "groups": 4},
        {"kernel": 3, "padding": 2, "dilation": 2, "groups": 4},
    ],
)
def test_no_3d_convolution_is_computed_in_the_fast_layout(options):
    kernel = options["kernel"]
    others = {name: value for name, value in options.items() if name != "kernel"}
    layer = Conv3d(4, 4, kernel, bias=False, **others).to(memory_format=LAYOUT)
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten.convolution.default:
                seen.append(args[0].ndim)
            return function(*args, **(kwargs or {}))

    x = torch.randn(2, 4, 5, 6, 7)
    with Watch():
        fast = layer(x.contiguous(memory_format=LAYOUT))
        assert set(seen) == {4}
        seen.clear()
        plain = layer(x)
        assert set(seen) == {5}
    assert fast.is_contiguous(memory_format=LAYOUT)
    torch.testing.assert_close(fast, plain)


def test_operations_are_counted_alike():
    ours, theirs = pair((1, 5, 5), padding=(0, 2, 2), groups=CHANNELS, bias=False)
    counted = []
    for layer in (ours, theirs):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            layer(volume(2, CHANNELS, 5, 6, 7))
        counted.append(counter.get_total_flops())
    assert counted[0] == counted[1]


def test_a_traced_network_keeps_the_layer_whole():
    network = nn.Sequential(Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1)), nn.LeakyReLU())
    steps = [(step.op, step.target) for step in traced(network).graph.nodes]
    assert steps[1:-1] == [("call_module", "0"), ("call_module", "1")]


def test_copies_and_weights_are_torchs():
    layer = Conv3d(4, 4, 1)
    assert isinstance(copy.deepcopy(layer), Conv3d)
    assert list(layer.state_dict()) == list(nn.Conv3d(4, 4, 1).state_dict())
