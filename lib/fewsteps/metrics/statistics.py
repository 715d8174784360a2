"""What a Fréchet distance needs of a set of features, gathered in constant memory and merged exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.files import digest
from fewsteps.shapes import Float

CHUNK = 4096  # rows that are held in float64 at a time


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and scatter of feature vectors, in float64.

    Immutable: :meth:`add` and :meth:`merge` return new moments. Batches merge by Chan's update, so that no large sums
    are subtracted from each other, and in the order in which they come, so that shards give the same bits wherever
    they were computed.

    Parameters
    ----------
    count : int
        Vectors seen.
    mean : Tensor, shape (D,)
    scatter : Tensor, shape (D, D)
        Sum over vectors of the outer product of their deviation from the mean.

    Raises
    ------
    ParameterError
        If the count is negative.
    ShapeError
        If mean and scatter are not finite, of float64 and of one width.

    Notes
    -----
    Source: T. F. Chan, G. H. Golub and R. J. LeVeque (1983), Algorithms for computing the sample variance.
    """

    count: int
    mean: Float[Tensor, " D"]
    scatter: Float[Tensor, "D D"]

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ParameterError(f"count must be an integer of at least 0, not {self.count}.")
        if self.mean.ndim != 1 or self.scatter.shape != (len(self.mean), len(self.mean)):
            shapes = f"{tuple(self.mean.shape)} and {tuple(self.scatter.shape)}"
            raise ShapeError(f"mean and scatter must have shapes (D,) and (D, D), not {shapes}.")
        if self.mean.dtype != torch.float64 or self.scatter.dtype != torch.float64:
            raise ShapeError(f"mean and scatter must be float64, not {self.mean.dtype} and {self.scatter.dtype}.")
        if not bool(self.mean.isfinite().all() and self.scatter.isfinite().all()):
            raise ShapeError("mean and scatter must be finite; gather them again from clean features.")

    @classmethod
    def empty(cls, width: int) -> Moments:
        """Moments of nothing, for features of `width` entries.

        Raises
        ------
        ParameterError
            If the width is below 1.
        """
        if width < 1:
            raise ParameterError(f"width must be an integer of at least 1, not {width}.")
        return cls(0, torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64))

    @classmethod
    def of(cls, features: Float[Tensor, "N D"]) -> Moments:
        """Moments of a set of features, on their device.

        Raises
        ------
        ShapeError
            If they are not finite floating point of shape (N, D).
        """
        require_features(features)
        return cls.merged(cls._of_chunk(rows.double()) for rows in features.split(CHUNK))

    @classmethod
    def _of_chunk(cls, rows: Tensor) -> Moments:
        mean = rows.mean(0)
        centred = rows - mean
        return cls(len(rows), mean, centred.mT @ centred)

    @classmethod
    def merged(cls, parts: Iterable[Moments]) -> Moments:
        """All parts as one, merged in the order in which they come.

        Raises
        ------
        ParameterError
            If there is no part.
        ShapeError
            If their widths differ.
        """
        whole = None
        for part in parts:  # one at a time, so that parts may be made as they are needed
            whole = part if whole is None else whole.merge(part)
        if whole is None:
            raise ParameterError("parts must hold at least one Moments, not 0.")
        return whole

    def add(self, features: Float[Tensor, "N D"]) -> Moments:
        """These moments with a batch of features added; the old ones stay as they are.

        Raises
        ------
        ShapeError
            If the features are not finite floating point of shape (N, D) and this width.
        """
        return self.merge(Moments.of(features))

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets together.

        Raises
        ------
        ShapeError
            If the widths differ.
        """
        if self.width != other.width:
            raise ShapeError(f"both moments must have one width, not {self.width} and {other.width}.")
        if not self.count or not other.count:
            return self if other.count == 0 else other
        count = self.count + other.count
        step = other.mean - self.mean
        # written so that both orders of two sets give the same bits
        between = torch.outer(step, step) * (self.count * other.count / count)
        mean = (self.count * self.mean + other.count * other.mean) / count
        return Moments(count, mean, self.scatter + other.scatter + between)

    @property
    def width(self) -> int:
        """Entries of a feature vector."""
        return len(self.mean)

    @property
    def covariance(self) -> Float[Tensor, "D D"]:
        """Unbiased covariance, over count - 1.

        Raises
        ------
        ParameterError
            If fewer than two vectors were seen.
        """
        if self.count < 2:
            raise ParameterError(f"a covariance needs at least 2 feature vectors, not {self.count}.")
        return self.scatter / (self.count - 1)

    def to_arrays(self) -> dict[str, Tensor]:
        """What to store, by name: tensors that safetensors and numpy.savez take, nothing pickled."""
        count = torch.tensor(self.count, dtype=torch.int64)
        return {"count": count, "mean": self.mean.cpu().contiguous(), "scatter": self.scatter.cpu().contiguous()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, object]) -> Moments:
        """What :meth:`to_arrays` stored, from tensors or arrays of numpy.

        Raises
        ------
        ShapeError
            If an array is missing, or one is not what it should be.
        """
        missing = [name for name in ("count", "mean", "scatter") if name not in arrays]
        if missing:
            raise ShapeError(f"stored moments must hold count, mean and scatter; {', '.join(missing)} is missing.")
        count, mean, scatter = (torch.as_tensor(arrays[name]) for name in ("count", "mean", "scatter"))
        if count.numel() != 1 or count.is_floating_point():
            raise ShapeError(f"count must be one integer, not {count.dtype} of shape {tuple(count.shape)}.")
        return cls(int(count), mean, scatter)

    def sha256(self) -> str:
        """Hash of count, mean and scatter: which reference a number was measured against."""
        return digest(str(self.count), *(part.cpu().numpy().tobytes() for part in (self.mean, self.scatter)))


def require_features(features: object, name: str = "features", *, least: int = 1) -> None:
    """Refuse anything but finite floating-point features of shape (N, D), N of at least `least`.

    Raises
    ------
    ShapeError
        With one sentence that names the argument and what it should be.
    """
    if not isinstance(features, Tensor):
        raise ShapeError(f"{name} must be a torch tensor of shape (N, D), not {type(features).__name__}.")
    if not features.is_floating_point():
        raise ShapeError(f"{name} must be floating point, not {features.dtype}.")
    if features.ndim != 2 or features.shape[1] == 0:
        raise ShapeError(f"{name} must have shape (N, D) with D of at least 1, not {tuple(features.shape)}.")
    if len(features) < least:
        raise ShapeError(f"{name} must hold at least {least} feature vectors, not {len(features)}.")
    bad = int((~torch.isfinite(features)).any(1).sum())
    if bad:
        raise ShapeError(f"{name} must be finite; {bad} of {len(features)} vectors hold NaN or infinite values.")


def require_pair(x: object, y: object, names: tuple[str, str], *, least: int) -> None:
    """Refuse two sets of features that are not both of shape (N, D) with one D.

    Raises
    ------
    ShapeError
        With one sentence that names the argument and what it should be.
    """
    require_features(x, names[0], least=least)
    require_features(y, names[1], least=least)
    assert isinstance(x, Tensor) and isinstance(y, Tensor)
    if x.shape[1] != y.shape[1]:
        raise ShapeError(f"{names[0]} and {names[1]} must have one width, not {x.shape[1]} and {y.shape[1]}.")
