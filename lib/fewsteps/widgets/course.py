"""A run of networks in the kernel, whose steps travel to the page as they are made; its other side is ``course.js``."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from typing import Any

import torch
from torch import Tensor

from fewsteps.errors import UserError
from fewsteps.samplers import Step
from fewsteps.widgets.figure import Figure

Message = tuple[dict[str, Any], tuple[Tensor, ...]]
"""What is said of a step, and the tensors that go with it."""


class Course(Figure):
    """A figure whose run can be started and stopped from the page. At most one is wanted at a time."""

    _wanted: str | None = None

    def _messages(self) -> Iterator[Message]:
        """The run that the controls describe now."""
        raise NotImplementedError

    def _hear(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        """What the page asks for; sampled in a thread, so that the kernel is free to hear that it should stop.

        The controls come with the question, for a change of one of them may be slower than it.
        """
        run = content.get("run")
        if content.get("do") == "sample":
            self._wanted = run
            try:
                for name, value in content.get("chosen", {}).items():
                    if name in self.keys and not name.startswith("_"):
                        setattr(self, name, value)
                messages = self._messages()
            except Exception as error:  # whatever it is, somebody waits for a word
                self._fail(run, error)
                return
            Thread(target=self._stream, args=(run, messages), daemon=True).start()
        elif content.get("do") == "stop" and run == self._wanted:
            self._wanted = None

    def _stream(self, run: str, messages: Iterator[Message]) -> None:
        try:
            for said, parts in messages:
                if self._wanted != run:
                    if self._wanted is not None:  # from another view of this figure, which shows its own run
                        self._fail(run, UserError("another run was started"))
                    return
                self.send({"run": run, **said}, buffers=[part.contiguous().numpy().tobytes() for part in parts])
            self.send({"run": run, "done": True})
        except Exception as error:
            self._fail(run, error)

    def _fail(self, run: str | None, error: Exception) -> None:
        words = str(error).splitlines()
        self.send({"run": run, "failed": words[0].rstrip(".") if words else type(error).__name__})


def without_gradients(steps: Iterator[Step]) -> Iterator[Step]:
    """The same steps, each made in inference mode."""
    while True:
        with torch.inference_mode():  # anew for every step: a generator must not leave it open for its caller
            step = next(steps, None)
        if step is None:
            return
        yield step
