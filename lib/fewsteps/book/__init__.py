"""From notebooks to the book.

    notebooks/*.ipynb --execute--> book/_executed/PROFILE/*.ipynb --build--> book/_build/PROFILE/html

:mod:`~fewsteps.book.project` says where things are and what a profile is, :mod:`~fewsteps.book.execute` runs the
notebooks (each in a :mod:`~fewsteps.book.worker`), :mod:`~fewsteps.book.vendor` copies the front-end packages,
:mod:`~fewsteps.book.models` exports the networks that pages run, :mod:`~fewsteps.book.live` puts figures on pages of
prose, :mod:`~fewsteps.book.build` makes the pages and :mod:`~fewsteps.book.serve` shows them.

Every step is cached by the content of what went into it, writes aside and swaps in when it has succeeded: a run that
is interrupted, or that fails, leaves what was there before.
"""
