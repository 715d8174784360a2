// Runs the page's samplers on onnxruntime-web under Node, and writes every state and prediction that they pass through.
// job: {widgets, ort, model, repeat, runs: [{sampler, steps, lam, r, seed, label, shape, rows, highest, lowest, rho}]};
// the answer is {runs: [{nfe, levels, x: [...], mean: [...]}], seconds}, arrays in base64, seconds of one network call.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const job = JSON.parse(readFileSync(0, "utf8"));
const { karras, twins, walk, zoneGains } = await import(pathToFileURL(`${job.widgets}/sampling.js`));
const ort = await import(pathToFileURL(`${job.ort}/ort.wasm.bundle.min.mjs`));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = readFileSync(`${job.ort}/ort-wasm-simd-threaded.wasm`);
const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(job.model)), { executionProviders: ["wasm"] });
const text = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");

const seconds = [];
const runs = [];
for (const { sampler, steps, lam, r, seed, label, shape, rows, highest, lowest, rho } of job.runs) {
  const [channels, size] = shape;
  const count = 2 * rows;
  const denoise = async (x, level) => {
    const given = {
      x: new ort.Tensor("float32", x, [count, ...shape]),
      sigma: new ort.Tensor("float32", new Float32Array(count).fill(level), [count]),
    };
    if (session.inputNames.includes("label")) given.label = new ort.Tensor("int32", new Int32Array(count).fill(label), [count]);
    const begin = process.cpuUsage();
    const { x0_hat } = await session.run(given);
    const spent = process.cpuUsage(begin);
    seconds.push((spent.user + spent.system) / 1e6);
    return x0_hat.data;
  };
  const noise = twins(seed, rows * channels * size * size, size, zoneGains(size, lam, r));
  const said = { nfe: 0, levels: [], x: [], mean: [] };
  for await (const step of walk(sampler, karras(highest, lowest, steps, rho), denoise, noise)) {
    said.nfe = step.nfe;
    said.levels.push(step.level);
    said.x.push(text(step.x));
    said.mean.push(text(step.mean));
  }
  runs.push(said);
}
seconds.sort((a, b) => a - b);
process.stdout.write(JSON.stringify({ runs, seconds: seconds[Math.floor(seconds.length / 2)] }));
