"""A shipped network as one ONNX file, which a browser runs without Python.

What is exported is the denoiser, not the network inside: D(x, sigma, label) in variance exploding coordinates, images
in [0, 1], preconditioning included. So whoever reads the file needs a sampler's arithmetic and nothing else.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fewsteps import checkpoints, trained
from fewsteps.denoisers.edm import precondition
from fewsteps.errors import ParameterError, UserError
from fewsteps.files import write_atomic

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

__all__ = ["file_name", "require_edm", "to_onnx", "write"]

INPUTS = ("x", "sigma", "label")
OUTPUT = "x0_hat"


def file_name(card: dict[str, Any]) -> str:
    """What the file of a checkpoint is called: its name and the beginning of its weights' hash."""
    return f"{card['name']}-{card['weights']['sha256'][:12]}.onnx"


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


def write(name: str, out: Path, folder: Path = checkpoints.FOLDER) -> Path:
    """Write a checkpoint's denoiser as an ONNX file.

    Parameters
    ----------
    name : str
    out : Path
        The file, or a folder that is there, in which it is called by its name and the hash of its weights.
    folder : Path
        Of the checkpoint.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint or it is damaged.
    ParameterError
        If it is not under EDM's preconditioning.
    UserError
        If the packages that write ONNX are missing.
    """
    content = to_onnx(name, folder)
    path = out / file_name(checkpoints.card(name, folder)) if out.is_dir() else out
    write_atomic(path, content)
    return path


def to_onnx(name: str, folder: Path = checkpoints.FOLDER) -> bytes:
    """A checkpoint's denoiser D(x, sigma, label) -> x0_hat as the bytes of an ONNX file.

    Inputs are ``x``, float32 (B, C, H, W), an image in [0, 1] plus sigma times white noise; ``sigma``, float32 (B,),
    above 0; and, for a network that knows classes, ``label``, int32 (B,), -1 for any. The output has the shape of
    ``x``. B is free. Computed in float32; weights that are exact in half precision, as all shipped ones are, are
    stored so, which halves the download and changes no bit of the result.

    Parameters
    ----------
    name : str
    folder : Path

    Raises
    ------
    CheckpointError, ParameterError, UserError
        As :func:`write`.

    Notes
    -----
    Source: BASE-HEUN (EDM's preconditioning).
    """
    model = trained.load(name, folder)
    require_edm(model.card)
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter stands on it
    except ModuleNotFoundError as error:
        raise UserError(f"Writing ONNX needs the package {error.name}: pip install 'fewsteps[book]'.") from error
    x = torch.zeros(2, *model.shape)
    given = (x, x.new_ones(2), *([torch.zeros(2, dtype=torch.int32)] if model.classes else []))
    batch = torch.export.Dim("batch", min=1, max=1024)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's own passage from one exporter to the next
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _Mean(model).eval(),
            given,
            input_names=INPUTS[: len(given)],
            output_names=[OUTPUT],
            dynamic_shapes=({0: batch},) * len(given),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    made = program.model_proto
    _strip(made)
    _halve(made.graph)
    entries = {"name": name, "sha256": model.card["weights"]["sha256"], "title": model.card["title"]}
    onnx.helper.set_model_props(made, entries)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)


class _Mean(nn.Module):
    """E[x0 given x0 + sigma z = x] for images in [0, 1]: what :class:`FromEDM` computes on VE, with sigma a tensor."""

    def __init__(self, model: trained.Trained) -> None:
        super().__init__()
        self.network = model.network
        self.mean, self.std = (float(model.card["predicts"][key]) for key in ("mean", "std"))

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        scaled = (x - self.mean) / self.std
        return precondition(self.network, scaled, sigma / self.std, label) * self.std + self.mean


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
