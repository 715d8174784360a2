"""Images by name: embedded, downloaded through torchvision, or read from a local copy.

==============  =================  =======  ==========================  ==================================
name            shape (C, H, W)    `size`   splits                      where from
==============  =================  =======  ==========================  ==================================
mnist           (1, 28, 28)        4 - 64   train, test, all            torchvision or ``FEWSTEPS_DATA``
fashion_mnist   (1, 28, 28)        4 - 64   train, test, all            torchvision or ``FEWSTEPS_DATA``
cifar10         (3, 32, 32)        4 - 32   train, test, all            torchvision or ``FEWSTEPS_DATA``
lfw             (3, 64, 64)        4 - 64   train, test, all            torchvision or ``FEWSTEPS_DATA``
digits          (1, 8, 8)          4 - 64   train, test, all            embedded (the scikit-learn wheel)
photos          (3, 256, 256)      4 - 300  train, all (the same)       embedded (the scikit-image wheel)
kodak           (3, 500, 500)      4 - 500  train, all (the same)       ``FEWSTEPS_DATA`` only
==============  =================  =======  ==========================  ==================================

Two environment variables say where files lie. ``FEWSTEPS_DATA`` names a folder that holds copies of the sets; where it
is set nothing is downloaded. ``FEWSTEPS_CACHE`` (default ``~/.cache/fewsteps``) is where downloads and decoded arrays
are kept.
"""

from fewsteps.data.catalog import NAMES, at_hand, class_names, load
from fewsteps.data.images import Images
from fewsteps.data.patches import patches

__all__ = ["NAMES", "Images", "at_hand", "class_names", "load", "patches"]
