"""A stand-in for a text encoder: words by their letters, so that a network can be told anything that has a spelling.

It is trained on nothing and knows no meaning: "cat" and "cats" are near each other, "cat" and "kitten" are not. What it
is for is the path behind it, which takes any embedding, CLIP's or another's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.networks.unet import UNet
from fewsteps.parameters import integer
from fewsteps.shapes import Float


@cache
def _trigram(letters: str, width: int) -> Tensor:
    seed = int.from_bytes(sha256(letters.encode()).digest()[:7], "big")
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


def spell(texts: Sequence[str], width: int, length: int) -> Float[Tensor, "B L D"]:
    """Texts as vectors, one per word: the sum of random directions that belong to its groups of three letters.

    Parameters
    ----------
    texts : sequence of str
        Words are runs of letters and digits; case does not count.
    width : int
        Of a vector.
    length : int
        Words; further ones are cut off, and zeros stand for those that are missing.

    Returns
    -------
    Tensor, shape (B, length, width)
        Words of mean square 1.

    Raises
    ------
    ParameterError
        If `width` or `length` is below 1, or a text has no word.

    Notes
    -----
    Source: SD-11, in place of the paper's text encoder; the groups of letters from P. Bojanowski et al. (2017),
    Enriching word vectors with subword information.
    """
    integer("width", width, least=1)
    integer("length", length, least=1)
    made = torch.zeros(len(texts), length, width)
    for row, text in zip(made, texts, strict=True):
        words = re.findall(r"\w+", text.lower())
        if not words:
            raise ParameterError(f"a text must have a word, and {text!r} has none.")
        for place, word in zip(row, words[:length], strict=False):
            marked = f"<{word}>"
            place += torch.stack([_trigram(marked[k : k + 3], width) for k in range(len(marked) - 2)]).sum(0)
            place /= place.square().mean().sqrt()
    return made


class Worded(UNet):
    """A U-Net that is told words: by the number of a phrase that it was trained on, or by any embedding.

    Parameters
    ----------
    channels : int
    phrases : sequence of str
        What each class is called.
    classes : int
        How many there are.
    context : int
        Width of a word.
    length : int
        Words that are told.
    **given
        Whatever else :class:`UNet` takes.

    Raises
    ------
    ParameterError
        If the numbers of phrases and classes differ, or `context` is below 1.

    Notes
    -----
    Source: SD-11.
    """

    table: Tensor

    def __init__(
        self, channels: int, *, phrases: Sequence[str], classes: int, context: int, length: int = 4, **given: Any
    ) -> None:
        if len(phrases) != integer("classes", classes, least=1):
            raise ParameterError(f"phrases must name {classes} classes, not {len(phrases)}.")
        super().__init__(channels, context=integer("context", context, least=1), **given)
        self.classes = classes
        self.register_buffer("table", spell(phrases, context, length), persistent=False)

    def taps(self, x: Tensor, times: Tensor, cond: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`UNet.taps`.

        Parameters
        ----------
        x, times
            As for :meth:`UNet.forward`.
        cond : Tensor, shape (B,) or (B, L, D), optional
            Whole-number phrases, -1 for none; or embeddings. Without it, none.

        Raises
        ------
        ShapeError
            If it is neither.
        """
        if cond is not None and not cond.is_floating_point():
            if cond.shape != x.shape[:1]:
                raise ShapeError(f"cond must hold one phrase per image, {len(x)}, not {tuple(cond.shape)}.")
            cond = torch.where(cond[:, None, None] < 0, 0.0, self.table[cond.clamp(min=0)])
        return super().taps(x, times, cond)
