"""A laboratory with networks on a page of its own, as the book serves it: module, style, runtime and models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from fewsteps.widgets.bundle import HERE, bundle

ORT = Path(__file__).resolve().parents[2] / "node_modules" / "onnxruntime-web" / "dist"
MODEL = """
    const handlers = {};
    const model = {
      get: (name) => state[name],
      set: (name, value) => { state[name] = value; for (const h of handlers["change:" + name] ?? []) h(); },
      save_changes() {},
      on: (event, handler) => (handlers[event] ??= []).push(handler),
      off() {},
    };"""  # a widget's state, as a page without a kernel holds it
PAGE = """<!doctype html><html data-content_root="./"><meta charset="utf-8"><title>lab</title><style>STYLE</style>
<link rel="icon" href="data:,"><div id="a"></div>
<script type="module">
  const state = STATE;
  for (const name of ["photos", "law", "powers"]) if (state[name]) state[name] = Uint8Array.from(state[name]);
  MODEL
  (await import("./lab.mjs")).default.render({ model, el: document.getElementById("a") });
</script></html>""".replace("MODEL", MODEL)
SHOWN = """
() => [...document.querySelectorAll(".fs-lab canvas")].map((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return Array.from({ length: canvas.width * canvas.height }, (_, k) => (data[4 * k + 3] ? data[4 * k] : -1));
})
"""


def write(folder, entry, state):
    """The page of one laboratory, whose module is `entry`, in a state of its traits."""
    (folder / "lab.mjs").write_text(bundle(entry))
    style = (HERE / "lab.css").read_text()
    (folder / "index.html").write_text(PAGE.replace("STATE", json.dumps(state)).replace("STYLE", style))


def opened(visit, folder):
    """The page with its figure drawn, and a list that grows by the names of the files that it asks for."""
    visited, asked = visit(folder, "/index.html"), []
    visited.page.wait_for_selector(".fs-lab[data-draws]")
    visited.page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[-1]))
    return visited, asked


def with_runtime(folder):
    """The runtime where a page looks for it; returns the folder for models."""
    static = folder / "_static"
    for name in ("vendor/onnxruntime", "models"):
        (static / name).mkdir(parents=True)
    shutil.copy(ORT / "ort.wasm.bundle.min.mjs", static / "vendor/onnxruntime/ort.mjs")
    shutil.copy(ORT / "ort-wasm-simd-threaded.wasm", static / "vendor/onnxruntime/ort.wasm")
    return static / "models"


def shown(page, count, size=8):
    """Grey values of the images on the page's canvases, a list of (count, size, size)."""
    found = []
    for canvas in page.evaluate(SHOWN):
        pixels = np.array(canvas).reshape(size, -1)
        found.append(pixels[:, (pixels >= 0).all(0)].reshape(size, count, size).transpose(1, 0, 2))
    return found
