"""What every live figure is: an anywidget that says in one sentence what it cannot show."""

from __future__ import annotations

from inspect import signature
from typing import Any

import anywidget
import traitlets

from fewsteps.errors import ParameterError


class Figure(anywidget.AnyWidget):
    """A live figure; its parameters are its traits."""

    def __init__(self, **traits: Any) -> None:
        if unknown := [name for name in traits if not self.has_trait(name) and name != "model_id"]:
            raise ParameterError(f"{type(self).__name__} has no {unknown[0]}: its parameters are {self._known()}.")
        try:
            super().__init__(**traits)
        except traitlets.TraitError as error:
            raise ParameterError(f"{str(error).rstrip('.')}.") from None

    def _known(self) -> str:
        """What it may be given: arguments by name, and the traits that a control or a choice has."""
        named = [
            name for name, each in signature(type(self).__init__).parameters.items() if each.kind != each.VAR_KEYWORD
        ]
        own = {
            name
            for name, trait in self.traits(sync=True).items()
            if name not in anywidget.AnyWidget.class_trait_names()
            and not isinstance(trait, (traitlets.Bytes, traitlets.List, traitlets.Dict))
        }
        return ", ".join(sorted(own | set(named[1:])))
