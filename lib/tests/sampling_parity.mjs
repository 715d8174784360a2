// Runs the page's samplers on onnxruntime-web under Node, and writes every state and prediction that they pass through.
// job: {widgets, ort, model, runs: [{sampler, steps, lam, r, seed, label, second, powers, and the lab's setting}]};
// the answer is {runs: [{nfe, levels, x: [...], mean: [...]}], seconds}, arrays in base64, seconds of one network call.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const job = JSON.parse(readFileSync(0, "utf8"));
const { idealsOf, karras, secondRow, twins, walk, zoneGains } = await import(pathToFileURL(`${job.widgets}/sampling.js`));
const ort = await import(pathToFileURL(`${job.ort}/ort.wasm.bundle.min.mjs`));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = readFileSync(`${job.ort}/ort-wasm-simd-threaded.wasm`);
const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(job.model)), { executionProviders: ["wasm"] });
const text = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");

const seconds = [];
const runs = [];
for (const { sampler, steps, lam, r, seed, label, second, classes, powers, levels, ideals, shape, rows, highest, lowest, rho } of job.runs) {
  const [channels, size] = shape;
  const count = 2 * rows;
  const asked = async (x, level) => {
    const given = {
      x: new ort.Tensor("float32", x, [count, ...shape]),
      sigma: new ort.Tensor("float32", new Float32Array(count).fill(level), [count]),
    };
    if (session.inputNames.includes("label")) given.label = new ort.Tensor("int32", Int32Array.from({ length: count }, (_, k) => (label === -2 ? (k % rows) % classes : label)), [count]);
    const begin = process.cpuUsage();
    const { x0_hat } = await session.run(given);
    const spent = process.cpuUsage(begin);
    seconds.push((spent.user + spent.system) / 1e6);
    return x0_hat.data;
  };
  const [half, corrects] = [rows * channels * size * size, second === "corrected"];
  const table = corrects && new Float32Array(new Uint8Array(Buffer.from(powers, "base64")).buffer);
  const ideal = corrects && idealsOf(table, levels, ideals, channels * size * size).at(label === -1 ? 0 : -1);
  const denoise = corrects ? secondRow(asked, half, size, ideal) : asked;
  const noise = twins(seed, half, size, zoneGains(size, corrects ? 1 : lam, r));
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
