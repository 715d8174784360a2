"""A network as one ONNX file, which a browser runs without Python.

Of a network under EDM's preconditioning the denoiser is exported, not the network inside: D(x, sigma, label) in
variance exploding coordinates, images in [0, 1], preconditioning included. Of a denoising diffusion GAN it is one whole
step of its sampler, posterior included; of PixelAware's reverse network the pair that makes one pass, the scale
estimator with it; of a scale estimator alone its decoder, which makes the scales that a pass begins from. So whoever
reads a file needs a sampler's arithmetic and nothing else.
"""

from fewsteps.export.graphs import INPUTS, OUTPUT, PARTS, require_edm, require_gan
from fewsteps.export.onnx_file import file_name, to_onnx, write

__all__ = ["INPUTS", "OUTPUT", "PARTS", "file_name", "require_edm", "require_gan", "to_onnx", "write"]
