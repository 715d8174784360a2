"""A shipped network as one ONNX file, which a browser runs without Python.

What is exported is the denoiser, not the network inside: D(x, sigma, label) in variance exploding coordinates, images
in [0, 1], preconditioning included. So whoever reads the file needs a sampler's arithmetic and nothing else. Of a
denoising diffusion GAN it is one whole step of its sampler, posterior included: whoever reads it needs no arithmetic.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fewsteps import checkpoints, trained
from fewsteps.denoisers.edm import clock, precondition
from fewsteps.errors import ParameterError, UserError
from fewsteps.files import write_atomic
from fewsteps.networks import Generator

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

__all__ = ["PARTS", "file_name", "require_edm", "require_gan", "to_onnx", "write"]

INPUTS = ("x", "sigma", "label")
OUTPUT = "x0_hat"
PARTS = ("sampler", "encoder")
"""What of a checkpoint is exported: what makes images, or the semantic encoder of a progressive GAN."""


def file_name(card: dict[str, Any], part: str = "sampler") -> str:
    """What the file of a checkpoint is called: its name and the beginning of its weights' hash."""
    return f"{card['name']}{'' if part == PARTS[0] else f'-{part}'}-{card['weights']['sha256'][:12]}.onnx"


def require_edm(card: dict[str, Any]) -> dict[str, Any]:
    """The card, if its network is preconditioned so that it serves any noise level.

    Raises
    ------
    ParameterError
        If it predicts something else.
    """
    kind = card["predicts"]["kind"]
    if kind != "edm":
        raise ParameterError(
            f"the checkpoint must hold a network under EDM's preconditioning, and {card['name']} predicts {kind!r}."
        )
    return card


def require_gan(card: dict[str, Any]) -> dict[str, Any]:
    """The card, if its network is a denoising diffusion GAN.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    if card["predicts"]["kind"] != "ddgan":
        raise ParameterError(
            f"the checkpoint must hold a denoising diffusion GAN, and {card['name']} predicts "
            f"{card['predicts']['kind']!r}."
        )
    return card


def write(name: str, out: Path, folder: Path = checkpoints.FOLDER, part: str = "sampler") -> Path:
    """Write a checkpoint's denoiser, a step of its sampler, or its encoder as an ONNX file.

    Parameters
    ----------
    name : str
    out : Path
        The file, or a folder that is there, in which it is called by its name and the hash of its weights.
    folder : Path
        Of the checkpoint.
    part : {"sampler", "encoder"}
        The encoder of a progressive GAN, or what makes images.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint or it is damaged.
    ParameterError
        If it is neither under EDM's preconditioning nor a denoising diffusion GAN, or has no such part.
    UserError
        If the packages that write ONNX are missing.
    """
    content = to_onnx(name, folder, part)
    path = out / file_name(checkpoints.card(name, folder), part) if out.is_dir() else out
    write_atomic(path, content)
    return path


def to_onnx(name: str, folder: Path = checkpoints.FOLDER, part: str = "sampler") -> bytes:
    """A checkpoint as the bytes of an ONNX file; B is free everywhere.

    Of a network under EDM's preconditioning it is D(x, sigma, label) -> x0_hat. Inputs are ``x``, float32
    (B, C, H, W), an image in [0, 1] plus sigma times white noise; ``sigma``, float32 (B,), above 0; and, for a network
    that knows classes, ``label``, int32 (B,), -1 for any. The output has the shape of ``x``.

    Of a denoising diffusion GAN it is one step of its sampler, (x, z, noise, step) -> (x0_hat, x_s). Inputs are ``x``,
    float32 (B, C, H, W), the state x_t for images in [-1, 1]; ``z``, float32 (B, latent), the semantic vector z_T at a
    step that is told it and white noise elsewhere; ``noise``, float32 of the shape of ``x``, of the posterior, which
    does nothing at step 1; and ``step``, int32 (B,), t from T to 1. Outputs are the image that was drawn and the state
    at t - 1, both in [-1, 1] as far as they are clean. The file's properties say T ("steps"), "semantic" (at which
    steps z is z_T) and "latent".

    Of a semantic encoder it is ``image``, float32 (B, C, H, W) in [0, 1], -> ``z_T``, float32 (B, latent).

    Computed in float32; weights that are exact in half precision, as all shipped ones are, are stored so, which halves
    the download and changes no bit of the result.

    Parameters
    ----------
    name : str
    folder : Path
    part : {"sampler", "encoder"}

    Raises
    ------
    CheckpointError, ParameterError, UserError
        As :func:`write`.

    Notes
    -----
    Source: BASE-HEUN (EDM's preconditioning); PD-2, Eq. 7 and 8 (a step of the two-stage sampler); PD-3.
    """
    if part not in PARTS:
        raise ParameterError(f"part must be one of {', '.join(PARTS)}, not {part!r}.")
    model = trained.load(name, folder)
    entries = {"name": name, "sha256": model.card["weights"]["sha256"], "title": model.card["title"]}
    if part == "encoder":
        require_gan(model.card)
        graph = _Seen(model)
    elif model.predicts == "ddgan":
        graph = _Drawing(model)
        said = model.card["predicts"]
        entries |= {"steps": str(said["steps"]), "semantic": said["semantic"], "latent": str(model.generator.latent)}
    else:
        require_edm(model.card)
        graph = _Mean(model)
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter stands on it
    except ModuleNotFoundError as error:
        raise UserError(f"Writing ONNX needs the package {error.name}: pip install 'fewsteps[book]'.") from error
    given = graph.example(2)
    batch = torch.export.Dim("batch", min=1, max=1024)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's own passage from one exporter to the next
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            graph.eval(),
            tuple(given.values()),
            input_names=list(given),
            output_names=list(graph.outputs),
            dynamic_shapes=({0: batch},) * len(given),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    made = program.model_proto
    _strip(made)
    _halve(made.graph)
    onnx.helper.set_model_props(made, entries)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)


class _Mean(nn.Module):
    """E[x0 given x0 + sigma z = x] for images in [0, 1]: what :class:`FromEDM` computes on VE, with sigma a tensor."""

    outputs = (OUTPUT,)

    def __init__(self, model: trained.Trained) -> None:
        super().__init__()
        self.network = model.network
        self.shape, self.classes = model.shape, model.classes
        self.mean, self.std = (float(model.card["predicts"][key]) for key in ("mean", "std"))

    def example(self, count: int) -> dict[str, Tensor]:
        """Inputs of the right kind, by name."""
        x = torch.zeros(count, *self.shape)
        given = (x, x.new_ones(count), *([torch.zeros(count, dtype=torch.int32)] if self.classes else []))
        return dict(zip(INPUTS, given, strict=False))

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        scaled = (x - self.mean) / self.std
        return precondition(self.network, scaled, sigma / self.std, label) * self.std + self.mean


class _Drawing(nn.Module):
    """One step of :func:`fewsteps.samplers.ddgan` with its generator: x0 drawn, then x_{t-1} from the posterior."""

    outputs = (OUTPUT, "x_s")
    network: Generator
    times: Tensor
    keep: Tensor
    to_x0: Tensor
    spread: Tensor

    def __init__(self, model: trained.Trained) -> None:
        super().__init__()
        self.network = model.generator.generator
        self.shape = model.shape
        process = model.steps
        bar = process.alpha_bars
        alpha, sigma = bar.sqrt(), (1 - bar).sqrt()
        shrink = alpha[1:] * sigma[:-1] / (alpha[:-1] * sigma[1:])
        keep = sigma[:-1] * shrink / sigma[1:]
        tables = {
            "times": clock(sigma[1:] / alpha[1:]),
            "keep": keep,
            "to_x0": alpha[:-1] - keep * alpha[1:],
            "spread": sigma[:-1] * (1 - shrink.square()).sqrt(),
        }
        for called, table in tables.items():
            self.register_buffer(called, table.float())

    def example(self, count: int) -> dict[str, Tensor]:
        """Inputs of the right kind, by name."""
        x = torch.zeros(count, *self.shape)
        return {"x": x, "z": torch.ones(count, self.network.latent), "noise": x + 1,
                "step": torch.ones(count, dtype=torch.int32)}  # fmt: skip

    def forward(self, x: Tensor, z: Tensor, noise: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        k = step.long() - 1
        x0 = self.network.unchecked(x, self.times[k], z)
        keep, to_x0, spread = (table[k][:, None, None, None] for table in (self.keep, self.to_x0, self.spread))
        return x0, keep * x + to_x0 * x0 + spread * noise


class _Seen(nn.Module):
    """What a semantic encoder sees in images in [0, 1]."""

    outputs = ("z_T",)

    def __init__(self, model: trained.Trained) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.shape = model.shape

    def example(self, count: int) -> dict[str, Tensor]:
        """Inputs of the right kind, by name."""
        return {"image": torch.zeros(count, *self.shape)}

    def forward(self, image: Tensor) -> Tensor:
        return self.encoder(2 * image - 1)


def _strip(model: ModelProto) -> None:
    """Take out what the exporter noted of its own run: a tenth of the file, and paths of this machine."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for entry in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        del entry.metadata_props[:]
        entry.doc_string = ""


def _halve(graph: GraphProto) -> None:
    """Store every weight that is exact in half precision so, with a cast back, which the runtime does once."""
    from onnx import TensorProto, helper, numpy_helper

    kept: list[TensorProto] = []
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and values.size > 64 and (values.astype("f2") == values).all():
            half = numpy_helper.from_array(values.astype("f2"), f"{tensor.name}.half")
            casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
            tensor = half
        kept.append(tensor)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
