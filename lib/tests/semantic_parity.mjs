// Walks an exported denoising diffusion GAN on onnxruntime-web under Node, and writes every state and drawing.
// job: {widgets, ort, model, setting, runs: [traits]}; the answer is {runs: [{x: [...], mean: [...]}]}, in base64.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const job = JSON.parse(readFileSync(0, "utf8"));
const { between, cut, drawingWalk, needed } = await import(pathToFileURL(`${job.widgets}/semantic.js`));
const { gaussians } = await import(pathToFileURL(`${job.widgets}/kit.js`));
const ort = await import(pathToFileURL(`${job.ort}/ort.wasm.bundle.min.mjs`));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = readFileSync(`${job.ort}/ort-wasm-simd-threaded.wasm`);
const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(job.model)), { executionProviders: ["wasm"] });
const text = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");

const { shape, count, latent, ends, directions } = job.setting;
const setting = { ...job.setting, pixels: shape.reduce((a, b) => a * b) };
const step = async ({ x, z, noise, t }) => {
  const said = await session.run({
    x: new ort.Tensor("float32", x, [count, ...shape]),
    z: new ort.Tensor("float32", z, [count, latent]),
    noise: new ort.Tensor("float32", noise, [count, ...shape]),
    step: new ort.Tensor("int32", new Int32Array(count).fill(t), [count]),
  });
  return { x0_hat: said.x0_hat.data, x_s: said.x_s.data };
};
const runs = [];
for (const now of job.runs) {
  const sets = [now.seed, now.seed + 50].map((seed, k) => ({
    ...cut(gaussians(needed(setting), seed), setting),
    semantic: ends && Float32Array.from(ends[k]),
  }));
  const said = { x: [], mean: [] };
  const inputs = between(...sets, now, setting, directions[now.direction] ?? null, now.reach);
  for await (const { x, mean } of drawingWalk(step, inputs, setting)) {
    said.x.push(text(x));
    said.mean.push(text(mean));
  }
  runs.push(said);
}
process.stdout.write(JSON.stringify({ runs }));
