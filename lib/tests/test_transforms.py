"""Transforms against scipy, PyWavelets and their own algebra."""

import numpy as np
import pytest
import pywt
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from fewsteps import transforms
from fewsteps.transforms import MATRIX_MAX, MATRIX_MAX_GPU, dct2, fft2, haar_dwt2, haar_idwt2, idct2, ifft2

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
seeds = st.integers(0, 2**31)


def image(shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (5, 12), (7, 9), (MATRIX_MAX + 2, 33), (301, MATRIX_MAX + 1)])
def test_dct_matches_scipy(shape):
    """TDAS-2: both code paths, odd and even, against an independent implementation."""
    x = image(shape)
    expected = scipy.fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho")
    assert np.abs(dct2(x).numpy() - expected).max() < 1e-13
    back = scipy.fft.idctn(x.numpy(), axes=(-2, -1), norm="ortho")
    assert np.abs(idct2(x).numpy() - back).max() < 1e-13


@given(sizes, seeds)
def test_transforms_are_orthonormal_and_invert(shape, seed):
    """TDAS-2, TDAS-5: energy is kept and the inverse is the inverse, at any size."""
    x = image(shape, seed)
    energy = x.square().sum()
    for forward, back in ((dct2, idct2), (fft2, ifft2)):
        y = forward(x)
        assert torch.allclose(y.abs().square().sum(), energy, rtol=1e-12)
        assert torch.allclose(back(y).real, x, atol=1e-12)


def test_printed_dct_is_not_orthogonal():
    """TDAS-2: the misprint, 1/sqrt(2) on n = 0, shown to be one."""
    n = 8
    k = torch.arange(n, dtype=torch.float64)
    cosine = torch.cos(torch.pi / n * (k + 0.5) * k[:, None]) * (2 / n) ** 0.5
    printed, used = cosine.clone(), cosine.clone()
    printed[:, 0] /= 2**0.5
    used[0] /= 2**0.5
    identity = torch.eye(n, dtype=torch.float64)
    assert (printed @ printed.mT - identity).abs().max() > 0.1
    assert (used @ used.mT - identity).abs().max() < 1e-14
    assert torch.allclose(dct2(identity), used @ identity @ used.mT, atol=1e-14)


@pytest.mark.parametrize(
    ("device", "size", "by_fft"),
    [
        *(("cpu", size, size > MATRIX_MAX) for size in (MATRIX_MAX, MATRIX_MAX + 1)),
        *(("meta", size, size > MATRIX_MAX_GPU) for size in (MATRIX_MAX + 1, MATRIX_MAX_GPU, MATRIX_MAX_GPU + 1)),
    ],
)
def test_where_the_fft_takes_over_depends_on_the_device(device, size, by_fft):
    """TDAS-2: what is no CPU multiplies by the matrix for longer."""
    with Called() as called:
        idct2(dct2(torch.zeros(size, size, device=device)))
    assert any("fft" in name for name in called.names) == by_fft
    assert any("mm" in name for name in called.names) != by_fft


class Called(TorchDispatchMode):
    """Remembers what torch was asked for."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("forward", [dct2, lambda x: fft2(x).abs().square(), lambda x: torch.stack(haar_dwt2(x))])
@pytest.mark.parametrize("size", [6, MATRIX_MAX + 2])
def test_transforms_have_right_gradients(forward, size):
    x = image((1, size), 3).expand(2, size).contiguous().requires_grad_()
    assert torch.autograd.gradcheck(forward, (x,), fast_mode=True)


def test_inverse_has_right_gradients_beyond_the_matrix():
    x = image((2, MATRIX_MAX + 3), 4).requires_grad_()
    assert torch.autograd.gradcheck(idct2, (x,), fast_mode=True)


@given(st.integers(1, 16), st.integers(1, 16), seeds)
def test_haar_matches_pywavelets(half_height, half_width, seed):
    """SD-4: pywt calls the horizontal detail cH what is `lh` here."""
    x = image((2, 2 * half_height, 2 * half_width), seed)
    approximation, (horizontal, vertical, diagonal) = pywt.dwt2(x.numpy(), "haar")
    bands = haar_dwt2(x)
    for mine, theirs in zip(bands, (approximation, horizontal, vertical, diagonal), strict=True):
        assert np.abs(mine.numpy() - theirs).max() < 1e-13
    assert torch.allclose(haar_idwt2(bands), x, atol=1e-13)
    assert torch.allclose(sum(b.square().sum() for b in bands), x.square().sum(), rtol=1e-12)


def test_haar_low_band_is_twice_the_mean():
    """SD-4: orthonormal, so a constant image of 1 becomes 2."""
    assert torch.equal(haar_dwt2(torch.ones(4, 4)).ll, torch.full((2, 2), 2.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept(dtype):
    x = image((3, 8, 8), dtype=torch.float32).to(dtype)
    assert dct2(x).dtype == dtype
    assert haar_dwt2(x).ll.dtype == dtype


def test_cosine_matrix_is_made_once():
    transforms._matrix.cache_clear()
    for _ in range(3):
        dct2(image((9, 9)))
    info = transforms._matrix.cache_info()
    assert (info.misses, info.hits) == (1, 5)


@pytest.mark.parametrize("size", [8, MATRIX_MAX + 2])
def test_what_was_cached_while_sampling_serves_a_backward_pass(size):
    transforms._matrix.cache_clear()
    transforms._phase.cache_clear()
    with torch.inference_mode():
        idct2(dct2(image((size, size))))
    x = image((size, size)).requires_grad_()
    idct2(dct2(x)).square().sum().backward()
    assert torch.allclose(x.grad, 2 * x.detach(), atol=1e-12)


@pytest.mark.parametrize("size", [8, MATRIX_MAX + 2])
def test_low_precision_does_not_reach_the_transform(size):
    """Under autocast nothing changes; half-precision input loses only its own rounding."""
    x = image((4, size, size), dtype=torch.float32)
    exact = dct2(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(dct2(x), exact)
    half = dct2(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - dct2(x.bfloat16().float())).abs().max() < exact.abs().max() / 128
    assert fft2(x.bfloat16()).dtype == torch.complex64
