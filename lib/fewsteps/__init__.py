"""fewsteps: an interactive research companion to accelerated diffusion.

The rooms, lowest first: :mod:`~fewsteps.transforms`, :mod:`~fewsteps.spectra`, :mod:`~fewsteps.wiener` and
:mod:`~fewsteps.schedules` are mathematics on tensors and need only torch; :mod:`~fewsteps.data` brings images;
:mod:`~fewsteps.networks` are trained by :mod:`~fewsteps.training` and loaded by :mod:`~fewsteps.trained`;
:mod:`~fewsteps.metrics` say how good samples are; :mod:`~fewsteps.experiments` put all of it to the test;
:mod:`~fewsteps.widgets` are the live figures; :mod:`~fewsteps.cli` and :mod:`~fewsteps.book` build the book.
"""

__version__ = "0.1.0"
