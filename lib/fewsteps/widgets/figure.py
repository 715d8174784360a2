"""What every live figure is: an anywidget that says in one sentence what it cannot show."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from fewsteps.errors import ParameterError


class Figure(anywidget.AnyWidget):
    """A live figure; its parameters are its traits."""

    def __init__(self, **traits: Any) -> None:
        if unknown := [name for name in traits if not self.has_trait(name)]:
            known = [name for name in self.traits(sync=True) if name not in anywidget.AnyWidget.class_trait_names()]
            raise ParameterError(
                f"{type(self).__name__} has no {unknown[0]}: its parameters are {', '.join(sorted(known))}."
            )
        try:
            super().__init__(**traits)
        except traitlets.TraitError as error:
            raise ParameterError(f"{str(error).rstrip('.')}.") from None
