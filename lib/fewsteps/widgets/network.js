// A network in a worker of its own, so that the page never waits for it: onnxruntime-web on one thread of WebAssembly.

/** What runs inside the worker. It travels as text: nothing else of this file is in its scope. */
function service() {
  let ort = null;
  let session = null;

  async function fetched(address, counts = true) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${new URL(address).pathname} cannot be had (${answer.status})`);
    const parts = [];
    const reader = answer.body.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      parts.push(next.value);
      if (counts) postMessage({ arrived: next.value.length });
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  }

  async function open({ script, wasm, file, counts }) {
    const [made, binary, content] = await Promise.all([import(script), fetched(wasm, counts), fetched(file)]);
    postMessage({ starting: true });
    ort = made;
    // Two threads would need headers that not every host of a static page can send.
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = binary.buffer;
    ort.env.logLevel = "error";
    session = await ort.InferenceSession.create(content, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    return {};
  }

  async function mean({ x, level, labels, shape }) {
    const count = shape[0];
    const given = {
      x: new ort.Tensor("float32", x, shape),
      sigma: new ort.Tensor("float32", new Float32Array(count).fill(level), [count]),
    };
    if (session.inputNames.includes("label")) given.label = new ort.Tensor("int32", Int32Array.from(labels), [count]);
    return { mean: (await session.run(given)).x0_hat.data };
  }

  async function call({ given }) {
    const feeds = Object.entries(given).map(([name, [kind, values, shape]]) => [name, new ort.Tensor(kind, values, shape)]);
    const said = await session.run(Object.fromEntries(feeds));
    return { said: Object.fromEntries(Object.entries(said).map(([name, { data }]) => [name, data])) };
  }

  const tasks = { open, mean, call };
  onmessage = async ({ data }) => {
    try {
      postMessage({ id: data.id, ...(await tasks[data.task](data)) });
    } catch (error) {
      postMessage({ id: data.id, failed: String(error.message ?? error) });
    }
  };
}

/** Where onnxruntime and a network's ONNX file lie among the files of the book, `home`. */
export function addressesOf(home, file) {
  if (home.protocol === "file:") throw new Error("this page was opened as a file, and make serve shows it as it is meant");
  const at = (path) => new URL(path, home).href;
  return { script: at("vendor/onnxruntime/ort.mjs"), wasm: at("vendor/onnxruntime/ort.wasm"), file: at(`models/${file}`) };
}

/**
 * Start a network from the addresses of onnxruntime's script and wasm and of the ONNX file; say(bytes, starting) hears
 * how much has arrived in all, the runtime left out unless it `counts`, and when all is here. Returns
 * {ready, mean, call, end}: a promise; the denoiser as a function of (x, level, labels, shape) to a promise; any other
 * file as a function of its inputs, {name: [kind, values, shape]}, to a promise of its outputs; and what frees the worker.
 */
export function startNetwork(addresses, say, counts = true) {
  const text = URL.createObjectURL(new Blob([`(${service})()`], { type: "text/javascript" }));
  const worker = new Worker(text, { type: "module" });
  const waiting = new Map();
  let last = 0;
  let arrived = 0;
  let dead = null;
  worker.onmessage = ({ data }) => {
    if (data.arrived || data.starting) {
      say((arrived += data.arrived ?? 0), data.starting ?? false);
      return;
    }
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.failed) reject(new Error(data.failed));
    else resolve(data.mean ?? data.said);
  };
  worker.onerror = (event) => {
    dead = new Error(event.message || "the worker did not start");
    for (const { reject } of waiting.values()) reject(dead);
    waiting.clear();
  };
  const ask = (task, given) =>
    new Promise((resolve, reject) => {
      if (dead) {
        reject(dead);
        return;
      }
      waiting.set(++last, { resolve, reject });
      worker.postMessage({ id: last, task, ...given });
    });
  return {
    ready: ask("open", { ...addresses, counts }),
    mean: (x, level, labels, shape) => ask("mean", { x, level, labels, shape }),
    call: (given) => ask("call", { given }),
    end() {
      worker.terminate();
      URL.revokeObjectURL(text);
    },
  };
}

/** Several networks, each in a worker of its own; say(bytes) hears what has arrived of all, the runtime counted once. */
export function startNetworks(home, files, say) {
  const arrived = files.map(() => 0);
  const networks = files.map((file, k) =>
    startNetwork(
      addressesOf(home, file),
      (bytes) => {
        arrived[k] = bytes;
        say(arrived.reduce((a, b) => a + b));
      },
      k === 0,
    ),
  );
  return {
    networks,
    ready: Promise.all(networks.map(({ ready }) => ready)),
    end() {
      for (const network of networks) network.end();
    },
  };
}

/**
 * Networks that are fetched at the first run and kept: get() starts them, `here` says that all have arrived, told() where
 * they are in words, and lose() frees them, as they do themselves if they cannot be had.
 */
export function fetchedOnce(start, paint) {
  const once = {
    here: false,
    held: null,
    get() {
      if (!once.held) {
        const mine = (once.held = start());
        // Whoever asked may have moved on meanwhile; what failed then is fetched anew.
        mine.ready.then(
          () => {
            once.here = once.held === mine;
            paint();
          },
          () => once.held === mine && once.lose(),
        );
      }
      return once.held;
    },
    told: (who, cost) => (once.here ? `${who} here` : once.held ? `${who} on the way` : cost),
    lose() {
      once.held?.end();
      once.held = null;
      once.here = false;
    },
  };
  return once;
}
