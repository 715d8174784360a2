"""The file: a graph with its weights as ONNX."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fewsteps import checkpoints, trained
from fewsteps.errors import UserError
from fewsteps.export import graphs
from fewsteps.export.graphs import PARTS
from fewsteps.files import write_atomic

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto


def file_name(card: dict[str, Any], part: str = "sampler") -> str:
    """What the file of a checkpoint is called: its name and the beginning of its weights' hash."""
    return f"{card['name']}{'' if part == PARTS[0] else f'-{part}'}-{card['weights']['sha256'][:12]}.onnx"


def write(name: str, out: Path, folder: Path = checkpoints.FOLDER, part: str = "sampler") -> Path:
    """Write a checkpoint as an ONNX file: its denoiser, a step of its sampler, its one pass, its decoder or encoder.

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
        If it is of a kind that is not exported, or has no such part.
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

    Of PixelAware's pair it is one pass, (x, t) -> (scale, noises). ``x`` is a state of step i and ``t``, float32 (B,),
    is i / T; outputs are the estimated scale, and Z^1 to Z^T, (B, T C, H, W), those of step 1 first, zero beyond i.
    The single head says ``x0_hat`` in their place. Of a scale estimator alone it is its decoder, ``vector``, float32
    (B, latent), of step T, -> ``scale``.

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
    Source: BASE-HEUN (EDM's preconditioning); PD-2, Eq. 7 and 8 (a step of the two-stage sampler); PD-3; PX-5;
    PX-6; PX-8, Algorithm 1, steps 1 and 5.
    """
    model = trained.load(name, folder)
    graph = graphs.of(model, folder, part)
    entries = {"name": name, "sha256": model.card["weights"]["sha256"], "title": model.card["title"]} | graph.said
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
