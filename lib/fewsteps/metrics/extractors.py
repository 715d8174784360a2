"""Networks that turn images into feature vectors, each under the name that every number measured with it carries."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewsteps.errors import CheckpointError, ParameterError, ShapeError
from fewsteps.parameters import integer
from fewsteps.shapes import Float, require_finite, require_image

INCEPTION = "inception-v3-compat"
SLACK = 1e-6  # how far rounding may carry a pixel out of [0, 1]


@dataclass(frozen=True)
class Extractor:
    """A named map from images to features.

    Parameters
    ----------
    name : str
        Of the network; a number carries it.
    function : callable
        Images in [0, 1], (B, C, H, W), to features, (B, D).
    logits : callable, optional
        The same to class logits, (B, K): what an inception score needs.
    size : int, optional
        Side in pixels that images are resized to before the network; None where they are not.
    resize : str
        How, in words.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor], Tensor] | None = None
    size: int | None = None
    resize: str = "none"

    @property
    def distance_name(self) -> str:
        """What its Fréchet distance is called: "FID" for Inception alone."""
        return "FID" if self.name == INCEPTION else f"FD-{self.name}"


def features(
    extractor: Extractor,
    images: Float[Tensor, "N C H W"],
    batch: int = 256,
    progress: Callable[[int, int], object] | None = None,
) -> Float[Tensor, "N D"]:
    """Features of images, batch by batch and without gradients.

    Parameters
    ----------
    extractor : Extractor
    images : Tensor, shape (N, C, H, W)
        In [0, 1].
    batch : int
        Images at a time.
    progress : callable, optional
        Called as ``progress(done, total)`` after every batch.

    Returns
    -------
    float32 Tensor, shape (N, D)
        On the CPU.

    Raises
    ------
    ShapeError
        If the images are not finite floating point of shape (N, C, H, W) in [0, 1], or the network returns something
        else than one vector per image.
    ParameterError
        If `batch` is below 1.
    """
    return _batched(extractor.function, images, batch, progress)


def logits(
    extractor: Extractor,
    images: Float[Tensor, "N C H W"],
    batch: int = 256,
    progress: Callable[[int, int], object] | None = None,
) -> Float[Tensor, "N K"]:
    """Class logits of images; arguments as those of :func:`features`.

    Raises
    ------
    ParameterError
        If the extractor has no logits.
    ShapeError
        As :func:`features`.
    """
    if extractor.logits is None:
        raise ParameterError(f"extractor must have logits for an inception score; {extractor.name} has none.")
    return _batched(extractor.logits, images, batch, progress)


def _batched(
    function: Callable[[Tensor], Tensor],
    images: Tensor,
    batch: int,
    progress: Callable[[int, int], object] | None,
) -> Tensor:
    require_image(images, "images")
    if images.ndim != 4:
        raise ShapeError(f"images must have shape (N, C, H, W), not {tuple(images.shape)}.")
    batch = integer("batch", batch, least=1)
    parts, done = [], 0
    with torch.inference_mode():
        for part in images.split(batch):
            require_finite(part, "images")
            low, high = float(part.min()), float(part.max())
            if low < -SLACK or high > 1 + SLACK:
                raise ShapeError(f"images must lie in [0, 1], not [{low:.4g}, {high:.4g}]: clamp them.")
            made = function(part)
            if made.ndim != 2 or len(made) != len(part):
                raise ShapeError(f"an extractor must return shape ({len(part)}, D), not {tuple(made.shape)}.")
            parts.append(made.float().cpu())
            done += len(part)
            if progress is not None:
                progress(done, len(images))
    # what left inference mode cannot be used in a backward pass; a copy can
    return torch.cat(parts).clone()


def from_network(name: str, network: nn.Module, *, channels: int, size: int | None = None) -> Extractor:
    """An extractor around a trained classifier.

    Parameters
    ----------
    name : str
        What its numbers carry; not Inception's.
    network : nn.Module
        With ``features(x)``, images in [0, 1] to (B, D); called as ``network(x)`` it gives logits, (B, K). It is put
        into evaluation mode at every call and back afterwards, and images are sent to its device.
    channels : int
        1 or 3, what the network takes; grey images are repeated where it takes 3.
    size : int, optional
        Side in pixels that other images are resized to, bilinear with antialiasing.

    Returns
    -------
    Extractor

    Raises
    ------
    ParameterError
        If the name is empty or Inception's, a number is out of range, or the network has no ``features``.
    ShapeError
        When called: if images have a number of channels that the network does not take.
    """
    if not name or name.lower().startswith("inception"):
        raise ParameterError(f"name must say which network it is and must not be Inception's, not {name!r}.")
    if channels not in (1, 3):
        raise ParameterError(f"channels must be 1 (grey) or 3 (colour), not {channels!r}.")
    size = None if size is None else integer("size", size, least=1)
    vectors = getattr(network, "features", None)
    if not callable(vectors):
        raise ParameterError(f"network must have a method features(x), which {type(network).__name__} has not.")

    def through(call: Callable[..., Any]) -> Callable[[Tensor], Tensor]:
        def function(images: Tensor) -> Tensor:
            like = next(network.parameters(), images)
            x = _resized(_coloured(images, channels), size).to(like.device, like.dtype)
            training = network.training
            network.eval()
            try:
                return call(x)
            finally:
                network.train(training)

        return function

    how = "none" if size is None else f"bilinear with antialiasing to {size} px"
    return Extractor(name, through(vectors), through(network), size, how)


def inception(weights: Path | str | None = None) -> Extractor:
    """Inception as torch-fidelity runs it, the one network whose Fréchet distance is called FID.

    Nothing is downloaded.

    Parameters
    ----------
    weights : Path, optional
        torch-fidelity's file of weights. By default the copy that torch-fidelity itself left in torch's cache.

    Returns
    -------
    Extractor
        2048 features and 1008 unbiased logits; images become 8-bit colour and are resized to 299 pixels inside.

    Raises
    ------
    CheckpointError
        If torch-fidelity or the weights are missing, or the file does not hold them.
    """
    instead = "or measure with a named classifier (from_network)"
    try:
        from torch_fidelity import feature_extractor_inceptionv3 as theirs
    except ImportError as error:
        raise CheckpointError(f"Inception needs torch-fidelity: pip install torch-fidelity, {instead}.") from error
    if weights is None:
        cached = Path(torch.hub.get_dir(), "checkpoints", theirs.URL_INCEPTION_V3.rpartition("/")[2])
        if not cached.is_file():
            raise CheckpointError(f"Inception's weights are not in torch's cache: pass weights=<file>, {instead}.")
        weights = cached
    weights = Path(weights)
    if not weights.is_file():
        raise CheckpointError(f"there is no file {weights.name} with Inception's weights: pass another, {instead}.")
    try:
        # torch-fidelity unpickles whatever is in the file; it is handed tensors that were read safely
        safe = io.BytesIO()
        torch.save(torch.load(weights, map_location="cpu", weights_only=True), safe)
        safe.seek(0)
        network = theirs.FeatureExtractorInceptionV3(INCEPTION, ["2048", "logits_unbiased"], safe)
    except Exception as error:  # torch names no common class for what a damaged file or a wrong one can raise
        raise CheckpointError(f"{weights.name} does not hold Inception's weights: pass another, {instead}.") from error

    def outputs(images: Tensor) -> tuple[Tensor, Tensor]:
        x = (_coloured(images, 3) * 255).round().clamp(0, 255).to(torch.uint8)
        made = network(x)
        return made[0], made[1]

    return Extractor(
        INCEPTION,
        lambda images: outputs(images)[0],
        lambda images: outputs(images)[1],
        299,
        "8 bits, then bilinear as in TensorFlow 1 to 299 px",
    )


def _coloured(images: Tensor, channels: int) -> Tensor:
    """Grey images repeated where a network takes three channels."""
    if images.shape[1] == channels:
        return images
    if images.shape[1] == 1:
        return images.expand(-1, channels, -1, -1)
    raise ShapeError(f"images must have 1 or {channels} channels for this network, not {images.shape[1]}.")


def _resized(images: Tensor, size: int | None) -> Tensor:
    if size is None or images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True)
