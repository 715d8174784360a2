"""Models from elsewhere: any module as a denoiser, and diffusers' schedulers with a filter, against ours and theirs."""

import sys

import pytest
import torch
from torch import nn

from fewsteps import bridge, denoisers, filters
from fewsteps import samplers as sam
from fewsteps import schedules as sch
from fewsteps.bridge.pretrained import described
from fewsteps.errors import DataError, ParameterError, ShapeError

SHAPE = (5, 3, 16, 16)
STEPS = sch.Discrete.linear()
VE = sch.VE()
TDAS = filters.tdas((16, 16), (0.9, 0.7), (0.2, 0.5))
PDS = filters.pds_radial((16, 16), 0.2, 1.6)
PLACES = ("predictor", "corrector")


def white(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(schedule):
    frequency = torch.arange(16, dtype=torch.float64)
    return denoisers.Gaussian(schedule, 1 / (1 + frequency[:, None] ** 2 + frequency**2))


def noise(seed=3):
    return sam.white_noise(seed, dtype=torch.float64)


def unet(seed=0, **named):
    """diffusers' own network, small and untrained."""
    from diffusers import UNet2DModel

    torch.manual_seed(seed)
    return UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, attention_head_dim=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), **named,
    ).eval()  # fmt: skip


def conditioned():
    """diffusers' network that is told more than a time, as small as it can be."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(8,), layers_per_block=1, norm_num_groups=4,
        attention_head_dim=8, cross_attention_dim=8, down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
        mid_block_type=None,
    )  # fmt: skip


class Told(nn.Module):
    """Answers in every parametrisation from the same exact mean, and notes what times it was told."""

    def __init__(self, model, predicts, times, wrap=lambda said: said):
        super().__init__()
        self.model, self.predicts, self.times, self.wrap, self.told = model, predicts, times, wrap, []

    def forward(self, x, told):
        t = self.times(float(told[0]))
        self.told.append(float(told[0]))
        alpha, sigma = float(self.model.schedule.alpha(t)), float(self.model.schedule.sigma(t))
        x0 = self.model.mean(x, t)
        eps = (x - alpha * x0) / sigma
        said = {"x0": x0, "eps": eps, "score": -eps / sigma, "v": alpha * eps - sigma * x0}[self.predicts]
        return self.wrap(said)


class TestDenoiser:
    @pytest.mark.parametrize("predicts", ["eps", "x0", "v", "score"])
    @pytest.mark.parametrize("schedule", [STEPS, VE, sch.VPLinear()], ids=["discrete", "VE", "VP"])
    def test_every_parametrisation_gives_the_same_mean(self, predicts, schedule):
        """BASE-DDPM, BASE-VE-PC, BASE-VP: exact, to rounding."""
        model = gaussian(schedule)
        module = Told(model, predicts, lambda t: t).eval()
        x, t = white(*SHAPE), 1.0 if schedule is not STEPS else 300.0
        mean = bridge.denoiser(module, predicts, schedule).mean(x, t)
        assert (mean - model.mean(x, t)).abs().max() < 1e-9

    @pytest.mark.parametrize(
        ("time", "schedule", "t", "told"),
        [
            ("time", STEPS, 300.0, 300.0),
            ("index", STEPS, 300.0, 299.0),
            ("sigma", VE, 2.5, 2.5),
            ("sigma", STEPS, 300.0, float(STEPS.sigma(300.0) / STEPS.alpha(300.0))),
            (lambda t: 7 * t, VE, 2.0, 14.0),
        ],
    )
    def test_times_are_told_as_asked(self, time, schedule, t, told):
        module = Told(gaussian(schedule), "x0", lambda given: t).eval()
        bridge.denoiser(module, "x0", schedule, time=time).mean(white(*SHAPE), t)
        assert module.told == [pytest.approx(told)]

    def test_what_diffusers_models_return_is_understood(self):
        """An object with `sample`, a tuple, and the two halves of a learned variance."""
        from diffusers.models.unets.unet_2d import UNet2DOutput

        model, x = gaussian(VE), white(*SHAPE)
        expected = model.mean(x, 1.0)
        wraps = (
            lambda said: UNet2DOutput(sample=said),
            lambda said: (said,),
            lambda said: torch.cat((said, torch.full_like(said, 9)), 1),
        )
        for wrap in wraps:
            module = Told(model, "eps", lambda t: t, wrap).eval()
            assert (bridge.denoiser(module, "eps", VE).mean(x, 1.0) - expected).abs().max() < 1e-9

    def test_a_condition_is_handed_on_where_there_is_one(self):
        """To a module of (x, times, cond), by a sampler too; one of (x, times) is given two."""
        told = []

        def module(x, *more):
            told.append(more)
            return 0 * x

        model, x, cond = bridge.denoiser(module, "x0", VE), white(*SHAPE), white(5, 2, seed=1)
        model.mean(x, 2.0, cond)
        model.mean(x, 2.0)
        sam.last(sam.ddim(model, x, torch.tensor([2.0, 1.0]), noise=noise(), cond=cond))
        assert [len(more) for more in told] == [2, 1, 2]
        assert told[0][1] is cond and told[2][1] is cond
        assert all(torch.equal(more[0], torch.full((5,), 2.0, dtype=torch.float64)) for more in told)

    def test_a_real_unet_is_a_denoiser_of_every_sampler(self):
        network = unet()
        model = bridge.denoiser(network, "eps", STEPS, time="index")
        times = torch.cat((torch.arange(991, 0, -330), torch.zeros(1)))
        made = sam.last(sam.ddim(model, (2, 3, 16, 16), times, noise=sam.white_noise(0)))
        assert made.shape == (2, 3, 16, 16) and bool(torch.isfinite(made).all())

    def test_refusals(self):
        module = Told(gaussian(VE), "x0", lambda t: t)
        with pytest.raises(ParameterError, match=r"in training mode, where dropout is random: call its \.eval"):
            bridge.denoiser(module.train(), "x0", VE)
        module.eval()
        with pytest.raises(ParameterError, match="predicts must be one of eps, x0, v, score, not 'noise'"):
            bridge.denoiser(module, "noise", VE)
        with pytest.raises(ParameterError, match="time must be one of time, index, sigma, or a function, not 'step'"):
            bridge.denoiser(module, "eps", VE, time="step")
        with pytest.raises(ShapeError, match="must return a tensor of the shape of x, not dict"):
            bridge.denoiser(lambda x, t: {}, "eps", VE).mean(white(*SHAPE), 1.0)
        with pytest.raises(ShapeError, match="must return the shape of x"):
            bridge.denoiser(lambda x, t: x[:1], "eps", VE).mean(white(*SHAPE), 1.0)


def walk_discrete(scheduler, **named):
    """A scheduler of theirs over 50 steps with an exact denoiser."""
    scheduler.alphas_cumprod = STEPS.alpha_bars[1:]  # theirs are rounded to float32
    scheduler.set_timesteps(50)
    model, x = gaussian(STEPS), white(*SHAPE)
    for t in scheduler.timesteps:
        alpha, sigma = float(STEPS.alpha(float(t) + 1)), float(STEPS.sigma(float(t) + 1))
        eps = (x - alpha * model.mean(x, float(t) + 1)) / sigma
        x = scheduler.step(eps, t, x, **named).prev_sample
    return x


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


class TestSchedulers:
    """TDAS-3: with a filter the numbers of this library's samplers, without one those of their parents, bit by bit."""

    TIMES = torch.cat((torch.arange(981, 0, -20), torch.zeros(1))).double()

    @pytest.mark.parametrize("variance", ["small", "large"])
    def test_ddpm(self, variance):
        """TDAS-3, BASE-DDPM."""
        from diffusers import DDPMScheduler

        given = dict(clip_sample=False, variance_type=f"fixed_{variance}", timestep_spacing="leading")
        plain = walk_discrete(DDPMScheduler(**given), generator=generator())
        assert torch.equal(walk_discrete(bridge.FilteredDDPMScheduler(**given), generator=generator()), plain)
        theirs = walk_discrete(bridge.FilteredDDPMScheduler(**given, filt=TDAS), generator=generator())
        ours = sam.last(
            sam.ddpm(gaussian(STEPS), white(*SHAPE), self.TIMES, noise=noise(), variance=variance, filt=TDAS)
        )
        assert (ours - theirs).abs().max() < 1e-9
        assert (theirs - plain).abs().max() > 0.01

    def test_ddpm_that_clips_filters_its_noise_alone(self):
        """TDAS-3: the mean is that of the clipped prediction, as the parent has it."""
        x, said = 3 * white(2, 3, 16, 16), white(2, 3, 16, 16, seed=1)
        half = filters.scalar(0.5)
        one, other = (bridge.FilteredDDPMScheduler(clip_sample=True, filt=f) for f in (filters.IDENTITY, half))
        steps = [s.step(said, 700, x, generator=generator(seed)).prev_sample for s in (one, other) for seed in (1, 2)]
        assert ((steps[0] - steps[1]) / 2 - (steps[2] - steps[3])).abs().max() < 1e-6
        assert (other.step(said, 0, x).prev_sample - one.step(said, 0, x).prev_sample).abs().max() == 0

    @pytest.mark.parametrize("eta", [0.4, 1.0])
    def test_ddim(self, eta):
        """TDAS-3, BASE-DDIM."""
        from diffusers import DDIMScheduler

        given = dict(clip_sample=False, timestep_spacing="leading", beta_start=1e-4, beta_end=0.02)
        named = {"eta": eta, "generator": generator()}
        plain = walk_discrete(DDIMScheduler(**given), **named | {"generator": generator()})
        same = walk_discrete(bridge.FilteredDDIMScheduler(**given), **named | {"generator": generator()})
        assert torch.equal(same, plain)
        theirs = walk_discrete(bridge.FilteredDDIMScheduler(**given, filt=TDAS), **named)
        ours = sam.last(sam.ddim(gaussian(STEPS), white(*SHAPE), self.TIMES, noise=noise(), eta=eta, filt=TDAS))
        assert (ours - theirs).abs().max() < 1e-9

    def walk_ve(self, scheduler, count=30):
        scheduler.set_timesteps(count)
        scheduler.set_sigmas(count)
        times = sch.geometric(VE, count)
        scheduler.discrete_sigmas = times[:-1].flip(0)
        scheduler.sigmas = scheduler.discrete_sigmas
        model, x, draws = gaussian(VE), 50 * white(*SHAPE), generator()
        for k, t in enumerate(times[:-1]):
            at = torch.tensor((count - 1 - k + (0.25 if k else 0)) / (count - 1), dtype=torch.float64)
            score = denoisers.score(model, x, float(t))
            x = scheduler.step_correct(score, x, generator=draws).prev_sample
            out = scheduler.step_pred(denoisers.score(model, x, float(t)), at, x, generator=draws)
            x = out.prev_sample
        return out.prev_sample_mean, times

    @pytest.mark.parametrize("name", ["none", "TDAS", "TDAS in the corrector", "PDS", "PDS in the predictor"])
    def test_score_sde_ve(self, name, monkeypatch):
        """TDAS-3, PDS-3, BASE-VE-PC: corrector and predictor, noise and score."""
        from diffusers import ScoreSdeVeScheduler
        from diffusers.schedulers import scheduling_sde_ve

        from fewsteps.bridge import schedulers

        def randn(shape, generator, **_):  # theirs would draw one of its two noises in float32
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        monkeypatch.setattr(scheduling_sde_ve, "randn_tensor", randn)
        monkeypatch.setattr(schedulers, "randn_tensor", randn)
        filt = {
            "none": filters.IDENTITY, "TDAS": TDAS.at(*PLACES), "TDAS in the corrector": TDAS.at("corrector"),
            "PDS": PDS.at(*PLACES, drift=True), "PDS in the predictor": PDS.at("predictor", drift=True),
        }[name]  # fmt: skip
        given = dict(num_train_timesteps=30, snr=0.17, sigma_min=0.01, sigma_max=50.0)
        theirs, times = self.walk_ve(bridge.FilteredScoreSdeVeScheduler(**given, filt=filt))
        if name == "none":
            assert torch.equal(theirs, self.walk_ve(ScoreSdeVeScheduler(**given))[0])
        start = 50 * white(*SHAPE)
        size = sam.snr_step(0.17)
        ours = sam.last(sam.predictor_corrector(gaussian(VE), start, times, noise=noise(), step_size=size, filt=filt))
        # the parent multiplies the step size with float32 ones: one rounding of 2^-24 per step, the state ends below 1
        assert (ours - theirs).abs().max() < 30 * 2**-24

    @pytest.mark.parametrize("kind", ["DDPM", "DDIM"])
    def test_a_pipeline_with_a_filter(self, kind):
        """TDAS-3: swapped into a real pipeline around a real UNet2DModel."""
        import diffusers

        scheduler = getattr(diffusers, f"{kind}Scheduler")(num_train_timesteps=1000)
        pipe = getattr(diffusers, f"{kind}Pipeline")(unet=unet(), scheduler=scheduler)
        pipe.set_progress_bar_config(disable=True)
        named = {"batch_size": 2, "num_inference_steps": 4, "output_type": "np"} | (
            {"eta": 1.0} if kind == "DDIM" else {}
        )
        plain = pipe(**named, generator=generator()).images
        pipe.scheduler = bridge.filtered(pipe.scheduler, filters.IDENTITY)
        assert (pipe(**named, generator=generator()).images == plain).all()
        pipe.scheduler = bridge.filtered(pipe.scheduler, filters.scalar(0.8))
        assert pipe.scheduler.filt.acts("predictor")
        assert abs(pipe(**named, generator=generator()).images - plain).max() > 1e-3

    def test_the_pipeline_of_ncsnpp(self):
        from diffusers import ScoreSdeVePipeline, ScoreSdeVeScheduler

        scheduler = ScoreSdeVeScheduler(num_train_timesteps=6, sigma_max=50.0)
        pipe = ScoreSdeVePipeline(unet(time_embedding_type="fourier"), scheduler)
        pipe.set_progress_bar_config(disable=True)
        named = {"batch_size": 2, "num_inference_steps": 6, "output_type": "np"}
        plain = pipe(**named, generator=generator()).images
        pipe.scheduler = bridge.filtered(scheduler, filters.IDENTITY)
        assert (pipe(**named, generator=generator()).images == plain).all()
        pipe.scheduler = bridge.filtered(scheduler, TDAS.at(*PLACES))
        assert abs(pipe(**named, generator=generator()).images - plain).max() > 1e-3

    @pytest.mark.parametrize("filt", [filters.IDENTITY, filters.scalar(0.5).at("predictor")])
    @pytest.mark.parametrize("kind", ["DDPM", "DDIM", "ScoreSdeVe"])
    def test_without_a_dictionary_there_is_a_tuple_of_the_same(self, kind, filt):
        scheduler, x = getattr(bridge, f"Filtered{kind}Scheduler")(filt=filt), white(2, 3, 16, 16)
        scheduler.set_timesteps(10)
        step = scheduler.step_pred if kind == "ScoreSdeVe" else scheduler.step
        named = {"eta": 1.0} if kind == "DDIM" else {}
        at = scheduler.timesteps[2]
        first = step(0.1 * x, at, x, generator=generator(), **named)
        second = step(0.1 * x, at, x, generator=generator(), return_dict=False, **named)
        other = first.prev_sample_mean if kind == "ScoreSdeVe" else first.pred_original_sample
        assert isinstance(second, tuple) and len(second) == 2
        assert torch.equal(second[0], first.prev_sample) and torch.equal(second[1], other)

    @pytest.mark.parametrize("filt", [filters.IDENTITY, filters.scalar(0.5).at("corrector")])
    def test_a_move_without_a_dictionary_is_a_tuple_too(self, filt):
        """And needs no steps to have been set, as a new scheduler has those that it was made for."""
        scheduler, x = bridge.FilteredScoreSdeVeScheduler(filt=filt), white(2, 3, 16, 16)
        first, second = (scheduler.step_correct(x, x, generator(), return_dict=said) for said in (True, False))
        assert isinstance(second, tuple) and len(second) == 1 and torch.equal(second[0], first.prev_sample)

    def test_refusals(self):
        from diffusers import DDIMScheduler, HeunDiscreteScheduler

        with pytest.raises(ParameterError, match=r"of its predictor, not of the prior: use filt\.at\('predictor'\)"):
            bridge.FilteredDDPMScheduler(filt=TDAS.at("prior", "predictor"))
        with pytest.raises(ParameterError, match="no score term for a filter's drift"):
            bridge.FilteredDDPMScheduler(filt=PDS.at("predictor", drift=True))
        with pytest.raises(ParameterError, match=r"scheduler must be one of ScoreSdeVeScheduler, .*not HeunDiscrete"):
            bridge.filtered(HeunDiscreteScheduler(), TDAS)
        scheduler = bridge.filtered(DDIMScheduler(), TDAS)
        scheduler.set_timesteps(4)
        with pytest.raises(ParameterError, match="eta=0 injects no noise that a filter could act on: give eta above 0"):
            scheduler.step(white(1, 3, 16, 16), 750, white(1, 3, 16, 16))


class TestPretrained:
    def test_ncsnpp_as_it_is_published(self, tmp_path):
        """BASE-VE-PC: saved in the hub's form, read again; the score is the network's own."""
        from diffusers import ScoreSdeVePipeline, ScoreSdeVeScheduler

        network = unet(time_embedding_type="fourier")
        ScoreSdeVePipeline(network, ScoreSdeVeScheduler(sigma_min=0.02, sigma_max=80.0)).save_pretrained(tmp_path)
        found = bridge.pretrained(tmp_path)
        assert found.shape == (3, 16, 16) and found.denoiser.schedule == sch.VE(0.02, 80.0)
        x = white(*SHAPE).float()
        with torch.no_grad():
            score = network(x, torch.full((5,), 2.5)).sample
        assert (denoisers.score(found.denoiser, x, 2.5) - score).abs().max() < 1e-4
        made = sam.last(
            sam.predictor_corrector(
                found.denoiser, (2, *found.shape), sch.geometric(found.denoiser.schedule, 3), noise=sam.white_noise(0),
                filt=TDAS,
            )
        )  # fmt: skip
        assert bool(torch.isfinite(made).all())

    @pytest.mark.parametrize(
        ("betas", "steps"),
        [({"beta_schedule": "linear"}, STEPS), ({"beta_schedule": "squaredcos_cap_v2"}, sch.Discrete.cosine())],
    )
    def test_ddpm_as_it_is_published(self, tmp_path, betas, steps):
        """BASE-DDPM: betas, index and kind of prediction come from the scheduler's own settings."""
        from diffusers import DDPMPipeline, DDPMScheduler

        network = unet()
        DDPMPipeline(network, DDPMScheduler(**betas, prediction_type="v_prediction")).save_pretrained(tmp_path)
        found = bridge.pretrained(str(tmp_path))
        assert torch.allclose(found.denoiser.schedule.alpha_bars, steps.alpha_bars, atol=1e-5)
        x = white(*SHAPE).float()
        alpha, sigma = float(steps.alpha(300.0)), float(steps.sigma(300.0))
        with torch.no_grad():
            v = network(x, 299).sample
        assert (found.denoiser.mean(x, 300.0) - (alpha * x - sigma * v)).abs().max() < 1e-4

    def test_refusals(self, tmp_path, monkeypatch):
        from diffusers import DDPMPipeline, DDPMScheduler

        with pytest.raises(DataError, match="there is no pipeline of diffusers' form at"):
            bridge.pretrained(tmp_path)
        with pytest.raises(ParameterError, match="must have betas or be a ScoreSdeVeScheduler, unlike CMStochastic"):
            described({"_class_name": "CMStochasticIterativeScheduler"})
        odd = {"_class_name": "DDPMScheduler", "beta_schedule": "linear", "prediction_type": "flow"}
        with pytest.raises(ParameterError, match=r"prediction_type must be one of epsilon, .*, not 'flow'"):
            described(odd)
        pipe, networks = DDPMPipeline(unet(), DDPMScheduler()), tmp_path / "two"
        pipe.register_modules(unet=conditioned())
        pipe.save_pretrained(networks)
        with pytest.raises(ParameterError, match="must be a UNet2DModel, not UNet2DConditionModel"):
            bridge.pretrained(networks)
        monkeypatch.setitem(sys.modules, "diffusers", None)
        with pytest.raises(ParameterError, match=r"diffusers is not installed.*pip install 'fewsteps\[book\]'"):
            bridge.pretrained(tmp_path)
