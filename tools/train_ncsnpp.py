"""A small NCSN++ as other people publish theirs: diffusers' UNet2DModel and ScoreSdeVeScheduler, in its own files.

    python tools/train_ncsnpp.py --minutes 40 --out data/pipelines/mnist-ncsnpp

Chapter 12 reads it as it would read one from the hub. Nothing of this library takes part but its loader of images.
Killed and started again it begins anew; --start goes on from the weights of a folder it has written, as a second run
at a lower rate did for the one that is shipped:

    python tools/train_ncsnpp.py --minutes 25 --rate 4e-4 --start data/pipelines/mnist-ncsnpp --out ...
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.deprecated.score_sde_ve.pipeline_score_sde_ve import ScoreSdeVePipeline
from diffusers.schedulers.scheduling_sde_ve import ScoreSdeVeScheduler

from fewsteps import data

SIGMA_MIN, SIGMA_MAX, STEPS = 0.01, 20.0, 1000


def network(size: int) -> UNet2DModel:
    """NCSN++ in miniature: noise levels as random Fourier features, and the output over the noise level, a score."""
    return UNet2DModel(
        sample_size=size,
        in_channels=3,  # as ScoreSdeVePipeline has it
        out_channels=3,
        time_embedding_type="fourier",
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=32,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=1e-3, help="of learning; a fifth of it in the last third")
    parser.add_argument("--start", type=Path, help="a folder that this has written, whose weights to go on from")
    chosen = parser.parse_args()

    torch.manual_seed(0)
    images = data.load("mnist", "train", 32).images.float().expand(-1, 3, -1, -1)
    net = network(images.shape[-1])
    if chosen.start:
        net.load_state_dict(UNet2DModel.from_pretrained(chosen.start, subfolder="unet").float().state_dict())
    kept = copy.deepcopy(net).requires_grad_(False)
    optimizer = torch.optim.Adam(net.parameters(), lr=chosen.rate)
    began, said, step, smooth = time.monotonic(), 0.0, 0, 1.0
    while (spent := (time.monotonic() - began) / 60) < chosen.minutes:
        for group in optimizer.param_groups:  # a fifth of the rate for the last third
            group["lr"] = chosen.rate * (1 if spent < chosen.minutes * 2 / 3 else 0.2)
        x0 = images[torch.randint(len(images), (64,))]
        sigma = SIGMA_MIN * (SIGMA_MAX / SIGMA_MIN) ** torch.rand(len(x0))
        eps = torch.randn_like(x0)
        scale = sigma[:, None, None, None]
        with torch.autocast("cpu", torch.bfloat16):
            score = net(x0 + scale * eps, sigma).sample
        loss = (scale * score.float() + eps).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        step += 1
        decay = min(0.9995, (1 + step) / (10 + step))
        for mean, now in zip(kept.parameters(), net.parameters(), strict=True):
            mean.lerp_(now.detach(), 1 - decay)
        smooth += 0.01 * (float(loss.detach()) - smooth)
        if spent * 60 > said + 30:
            said = spent * 60
            print(f"step {step}, {said:.0f} s, loss {smooth:.4f}", flush=True)
    scheduler = ScoreSdeVeScheduler(num_train_timesteps=STEPS, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, snr=0.16)
    ScoreSdeVePipeline(kept.half(), scheduler).save_pretrained(chosen.out)
    print(f"{step} steps; saved in {chosen.out}")


if __name__ == "__main__":
    main()
