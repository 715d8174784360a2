"""What a user meets: one sentence, without the tests' own shape checks in the way."""

import json
import subprocess
import sys

import numpy as np
import pytest

from fewsteps import parameters

RUN = "samplers.last(samplers."
# Each is run in one fresh interpreter, where jaxtyping and beartype are not watching.
CASES = {
    "dct of integers": ("transforms.dct2(torch.ones(4, 4, dtype=torch.uint8))", "ShapeError", "floating point"),
    "dct of a vector": ("transforms.dct2(torch.ones(4))", "ShapeError", "(..., H, W)"),
    "dct of a list": ("transforms.dct2([[1.0]])", "ShapeError", "not list"),
    "empty image": ("transforms.fft2(torch.ones(0, 4))", "ShapeError", "no empty axis"),
    "odd Haar": ("transforms.haar_dwt2(torch.ones(3, 4))", "ShapeError", "even height and width"),
    "unequal bands": ("transforms.haar_idwt2((torch.ones(2, 2),) * 3 + (torch.ones(3, 3),))", "ShapeError", "hh must"),
    "NaN images": ("spectra.power_spectrum(torch.full((2, 4, 4), float('nan')))", "ShapeError", "32 NaN or infinite"),
    "unknown basis": ("spectra.power_spectrum(torch.ones(4, 4), 'dwt')", "ParameterError", "'dct' or 'dft'"),
    "window on DCT": ("spectra.power_spectrum(torch.ones(4, 4), 'dct', window='hann')", "ParameterError", "window"),
    "no bins": ("spectra.radial_mean(torch.ones(4, 4), bins=0)", "ParameterError", "bins must"),
    "kappa of channels": ("spectra.kappa(torch.ones(3, 4, 4), 0.0)", "ShapeError", "average over the other axes"),
    "zones of channels": ("filters.tdas_zones(torch.ones(3, 4, 4))", "ShapeError", "average over the other axes"),
    "batch of spectra": ("spectra.radial_mean(torch.ones(2, 4, 4))", "ShapeError", "average over"),
    "empty fit": (
        "spectra.fit_power_law(spectra.radial_mean(torch.ones(8, 8)), 0.4, 0.1)",
        "ParameterError",
        "low < high",
    ),
    "ratio of shapes": ("spectra.ratio(torch.ones(2, 2), torch.ones(2, 3))", "ShapeError", "share a shape"),
    "ratio to zero": ("spectra.ratio(torch.ones(2, 2), torch.zeros(2, 2))", "ShapeError", "positive"),
    "kappa beyond": ("spectra.kappa(torch.ones(4, 4), 0.9)", "ParameterError", "between 0 and 0.75"),
    "quantile of 0": ("spectra.quantile(torch.ones(3), 0)", "ParameterError", "(0, 1]"),
    "quantile of none": ("spectra.quantile(torch.ones(0), 0.5)", "ShapeError", "at least one"),
    "empty band": (
        "spectra.band_error(torch.ones(1, 8, 8), torch.ones(1, 8, 8), cutoff=2)",
        "ParameterError",
        "cutoff",
    ),
    "alpha_bar of 1": ("wiener.noise_response(torch.ones(2), 1)", "ParameterError", "above 0 and below 1, not 1"),
    "alpha_bars beyond": (
        "wiener.noise_response(torch.ones(2), torch.tensor([0.5, 1.5]))",
        "ParameterError",
        "alpha_bar",
    ),
    "unknown form": ("wiener.noise_response(torch.ones(2), 0.5, form='typo')", "ParameterError", "correct, printed"),
    "filter of another size": ("wiener.denoise(torch.ones(4, 4), torch.ones(3, 3), 0.5)", "ShapeError", "(4, 4)"),
    "patches not square": ("wiener.linear_error(torch.eye(5), 0.5, 'dct')", "ShapeError", "square"),
    "unknown structure": ("wiener.linear_error(torch.eye(4), 0.5, 'haar')", "ParameterError", "structure"),
    "sigmas swapped": ("schedules.VE(5, 1)", "ParameterError", "sigma_min"),
    "negative beta": ("schedules.VPLinear(-1, 2)", "ParameterError", "beta_min"),
    "beta of 2": ("schedules.Discrete(torch.tensor([0.1, 2.0]))", "ParameterError", "between 0 and 1"),
    "betas as matrix": ("schedules.Discrete(torch.ones(2, 2))", "ShapeError", "vector"),
    "time between steps": ("schedules.Discrete.linear(10).alpha(2.5)", "ParameterError", "integer step"),
    "step below 0": ("schedules.Discrete.linear(10).alpha(torch.tensor([-1.0]))", "ParameterError", "between 0 and 10"),
    "times of another batch": (
        "schedules.diffuse(schedules.VE(), torch.ones(2, 3), torch.ones(3), torch.ones(2, 3))",
        "ShapeError",
        "one time per sample, 2",
    ),
    "T as half": ("schedules.PixelAware(torch.ones(1), 2.0, form='printed', steps=2.5)", "ParameterError", "steps"),
    "black pixel": ("schedules.PixelAware(torch.zeros(2, 2), 20.0)", "ShapeError", "clamp"),
    "gamma of 0": ("schedules.PixelAware(torch.ones(2, 2), 0)", "ParameterError", "gamma must"),
    "printed without T": ("schedules.PixelAware(torch.ones(2, 2), 2.0, form='printed')", "ParameterError", "steps"),
    "one special step": ("schedules.progressive(1)", "ParameterError", "at least 2"),
    "unknown tie": ("schedules.progressive(2, tie='any')", "ParameterError", "tie"),
    "no steps": ("schedules.geometric(schedules.VE(), 0)", "ParameterError", "at least 1"),
    "too many steps": ("schedules.uniform(schedules.Discrete.linear(5), 6)", "ParameterError", "at most 5"),
    "no single level": ("schedules.karras(schedules.PixelAware(torch.ones(1), 2.0), 5)", "ParameterError", "uniform"),
    "noise of another shape": (
        "schedules.diffuse(schedules.VE(), torch.ones(2), 1.0, torch.ones(3))",
        "ShapeError",
        "shape of x0",
    ),
    "patch too large": (
        "data.patches(torch.ones(1, 4, 4), 5, 1, torch.Generator())",
        "ParameterError",
        "between 1 and 4",
    ),
    # filters
    "lam of 0": ("filters.tdas((8, 8), 0, 0.3)", "ParameterError", "lam must be a number above 0"),
    "lam of letters": ("filters.tdas((8, 8), 'a', 0.3)", "ParameterError", "lam"),
    "lam NaN": ("filters.scalar(float('nan'))", "ParameterError", "lam must"),
    "negative r": ("filters.tdas((8, 8), 0.9, -0.1)", "ParameterError", "r must be a number of at least 0"),
    "r beyond": ("filters.tdas((8, 8), 0.9, 1.2)", "ParameterError", "at most 1 (units of the height)"),
    "zones without radii": (
        "filters.tdas((8, 8), (0.9, 0.8), 0.3)",
        "ParameterError",
        "one entry per zone, not 2 and 1",
    ),
    "unknown place": ("filters.scalar(0.9, where={'start'})", "ParameterError", "prior, predictor, corrector"),
    "negative mask": ("filters.Filter(-torch.ones(4, 4))", "ShapeError", "positive and finite"),
    "mask as vector": ("filters.Filter(torch.ones(4))", "ShapeError", "(H, W) or (C, H, W)"),
    "masks of two sizes": ("filters.Filter(torch.ones(4, 4), torch.ones(5, 5))", "ShapeError", "one size"),
    "odd DFT mask": ("filters.Filter(torch.rand(4, 4) + 0.1, basis='dft')", "ShapeError", "even for the DFT"),
    "filter of another size on noise": (
        "filters.tdas((8, 8), 0.9, 0.3).noise(torch.ones(2, 4, 4))",
        "ShapeError",
        "shape (..., 8, 8), not (2, 4, 4)",
    ),
    "no crossing": ("filters.tdas_zones(1 / spectra.square_distance((8, 8)).add(1))", "ParameterError", "never rises"),
    "alpha below 1": ("filters.pds_mask(torch.ones(4, 4), 0.5)", "ParameterError", "alpha must"),
    "unknown direction": (
        "filters.pds_radial((8, 8), 0.2, 1.6, direction='up')",
        "ParameterError",
        "'M' or 'M_inv'",
    ),
    "unknown layout": ("filters.pds_radial((8, 8), 0.2, 1.6, layout='odd')", "ParameterError", "centred"),
    "unknown kind": ("filters.space_from_data(torch.ones(1, 1, 2, 2), 'x')", "ParameterError", "kind"),
    "black images": ("filters.space_from_data(torch.zeros(1, 1, 2, 2))", "ShapeError", "black"),
    # denoisers
    "negative variance": ("denoisers.Gaussian(schedules.VE(), -torch.ones(2, 2))", "ShapeError", "non-negative"),
    "x of another size": (
        "denoisers.Gaussian(schedules.VE(), torch.ones(2, 2)).mean(torch.ones(1, 3, 3), 1.0)",
        "ShapeError",
        "(..., 2, 2), not (1, 3, 3)",
    ),
    "mixture of shapes": (
        "denoisers.GaussianMixture(schedules.VE(), torch.ones(2), torch.ones(3, 2), torch.ones(3, 2))",
        "ShapeError",
        "(K,)",
    ),
    "no samples": ("denoisers.Empirical(schedules.VE(), torch.ones(0, 2))", "ShapeError", "at least one sample"),
    "network of another shape": (
        "denoisers.FromEps(lambda x, t: x[:1], schedules.VE()).mean(torch.ones(2, 1, 4, 4), 1.0)",
        "ShapeError",
        "must return the shape of x, (2, 1, 4, 4), not (1, 1, 4, 4)",
    ),
    "clipped the wrong way": (
        "denoisers.Clipped(denoisers.Empirical(schedules.VE(), torch.ones(1, 2)), 1, -1)",
        "ParameterError",
        "low must be below high",
    ),
    # samplers
    "rising times": (
        f"{RUN}ddim(model, (1, 2, 2), torch.tensor([0.0, 1.0]), noise=noise))",
        "ParameterError",
        "decreasing",
    ),
    "equal times": (
        f"{RUN}ddim(model, (1, 2, 2), torch.tensor([1.0, 1.0]), noise=noise))",
        "ParameterError",
        "decreasing",
    ),
    "one time": (f"{RUN}ddim(model, (1, 2, 2), torch.tensor([1.0]), noise=noise))", "ShapeError", "at least two times"),
    "times as list": (f"{RUN}ddim(model, (1, 2, 2), [1.0, 0.0], noise=noise))", "ShapeError", "not list"),
    "negative time": (
        f"{RUN}ddim(model, (1, 2, 2), torch.tensor([1.0, -1.0]), noise=noise))",
        "ParameterError",
        "end at 0",
    ),
    "eta of 2": (f"{RUN}ddim(model, (1, 2, 2), times, noise=noise, eta=2))", "ParameterError", "eta must"),
    "unknown variance": (
        f"{RUN}ddpm(model, (1, 2, 2), times, noise=noise, variance='mid'))",
        "ParameterError",
        "small",
    ),
    "eps too large": (
        f"{RUN}langevin(model, (1, 2, 2), times, noise=noise, eps=1e-3))",
        "ParameterError",
        "overshoots",
    ),
    "no moves": (f"{RUN}langevin(model, (1, 2, 2), times, noise=noise, per_level=0))", "ParameterError", "per_level"),
    "unknown predictor": (
        f"{RUN}predictor_corrector(model, (1, 2, 2), times, noise=noise, predictor='x'))",
        "ParameterError",
        "reverse diffusion",
    ),
    "VE sampler on VP": (
        "samplers.last(samplers.ve_ancestral(denoisers.Gaussian(schedules.VPLinear(), torch.ones(2, 2)), (1, 2, 2), "
        "schedules.uniform(schedules.VPLinear(), 3), noise=samplers.white_noise(0)))",
        "ParameterError",
        "alpha = 1",
    ),
    "Gamma of another grid": (
        f"{RUN}analytic(model, (1, 2, 2), times, noise=noise, eps_power=torch.ones(9)))",
        "ShapeError",
        "one entry per step, (3,), not (9,)",
    ),
    "filter for the corrector of DDIM": (
        f"{RUN}ddim(model, (1, 2, 2), times, noise=noise, eta=1, filt=filters.scalar(0.9, where={{'corrector'}})))",
        "ParameterError",
        "cannot filter noise at corrector",
    ),
    "NaN from a network": (
        f"{RUN}ddim(denoisers.FromX0(lambda x, t: x / 0 * 0, schedules.VE()), (1, 2, 2), times, noise=noise))",
        "ShapeError",
        "at iteration 1 of ddim",
    ),
    "seed of letters": ("samplers.white_noise('a')", "ParameterError", "seed must"),
    "no steps to take": ("samplers.last(iter(()))", "ParameterError", "at least one step"),
    # theory
    "space filter on 32 px": (
        "theory.propagate(samplers.ddim, denoisers.Gaussian(schedules.VE(), torch.ones(32, 32), basis='dct'), "
        "times, filt=filters.Filter(space=torch.ones(32, 32), where={'prior'}))",
        "ParameterError",
        "16 x 16 pixels only, not 32 x 32",
    ),
    "laws of two sizes": (
        "theory.kl(theory.Law(torch.ones(2), torch.ones(2)), theory.Law(torch.ones(3), torch.ones(3)))",
        "ShapeError",
        "one shape",
    ),
    "one ring": ("theory.rings(1)", "ParameterError", "size must"),
    "laboratory of 100 px": ("widgets.WienerLab(size=100)", "ParameterError", "power of two"),
    "no photograph": ("widgets.SnrLab(photographs=())", "ParameterError", "at least one"),
    "photograph of no number": ("widgets.SnrLab(photo=9)", "ParameterError", "photo"),
    "response of the own spectrum": ("widgets.WienerLab(prior='own').response(torch.ones(1))", "ParameterError", "law"),
    "laboratory of no such T": ("widgets.PixelLab(T=7)", "ParameterError", "expected any of"),
    "laboratory of too small a gamma": ("widgets.SnrLab(gamma=0)", "ParameterError", "'gamma'"),
    "laboratory without such a control": (
        "widgets.PdsLab(lamda=0.5)",
        "ParameterError",
        "has no lamda: its parameters are",
    ),
    "unknown photograph": ("widgets.SnrLab(photographs=('lena',))", "ParameterError", "astronaut"),
}
PARAMETERS = {
    "unknown profile": ("parameters.profile('fast')", "profile must be one of smoke, cpu, gpu, not 'fast'."),
    "gamma at T": (
        "parameters.number('gamma', 200, above=0, below=200)",
        "gamma must be a number above 0 and below 200, not 200.",
    ),
    "gamma as text": ("parameters.number('gamma', 'abc', above=0)", "gamma must be a number above 0, not 'abc'."),
    "gamma NaN": ("parameters.number('gamma', float('nan'))", "gamma must be a number, not nan."),
    "gamma infinite": ("parameters.number('gamma', float('inf'), above=0)", "gamma must be a number above 0, not inf."),
    "exponent below 0": (
        "parameters.number('exponent', -9, least=0, most=4)",
        "exponent must be a number of at least 0 and at most 4, not -9.",
    ),
    "seed too large": ("parameters.seed(2**64)", f"seed must be an integer from 0 to {2**63 - 1}, not {2**64}."),
    "T of 0": ("parameters.integer('T', 0, least=1)", "T must be an integer of at least 1, not 0."),
    "T of 2.5": ("parameters.integer('T', 2.5, least=1, most=9)", "T must be an integer from 1 to 9, not 2.5."),
    "T as truth": ("parameters.integer('T', True, least=0)", "T must be an integer of at least 0, not True."),
    "T infinite": ("parameters.integer('T', float('inf'), least=0)", "T must be an integer of at least 0, not inf."),
}

PROGRAM = """
import json, sys, torch
from fewsteps import data, denoisers, filters, parameters, samplers, schedules, spectra, theory, transforms
from fewsteps import widgets, wiener
model = denoisers.Gaussian(schedules.VE(), torch.ones(2, 2))
times = schedules.geometric(schedules.VE(), 3)
noise = samplers.white_noise(0)
said = {}
for name, code in json.load(sys.stdin).items():
    try:
        said[name] = ["nothing", repr(eval(code))]
    except Exception as error:
        said[name] = [type(error).__name__, str(error)]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said():
    """What every case raises, from one interpreter."""
    code = {name: case[0] for name, case in (CASES | PARAMETERS).items()}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(code),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_sentence(name, said):
    """The right error, naming the argument or the range, in one line that ends like a sentence."""
    _, kind, words = CASES[name]
    error, message = said[name]
    assert error == kind, (error, message)
    assert words in message, message
    assert "\n" not in message and message.endswith(".") and len(message) < 220, message


@pytest.mark.parametrize("name", PARAMETERS)
def test_bad_parameters_name_the_parameter_and_the_range(name, said):
    assert said[name] == ["ParameterError", PARAMETERS[name][1]]


def test_ipython_shows_the_sentence_alone():
    """A notebook that was given a bad parameter ends with the sentence, not with a traceback."""
    code = "from fewsteps import parameters; parameters.profile('fast')"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert lines == ["ParameterError: profile must be one of smoke, cpu, gpu, not 'fast'."]


def test_numbers_of_numpy_are_numbers():
    assert parameters.number("x", np.float32(0.5), above=0) == 0.5
    assert parameters.integer("n", np.int64(3), least=1) == 3
