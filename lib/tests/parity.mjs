// Reads a job from standard input, runs functions of the front end, and writes what they return.
// job: {module, calls: [[name, ...arguments]]}; typed arrays travel as {"f64": [...]} and come back in place.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const job = JSON.parse(readFileSync(0, "utf8"));
const module = await import(pathToFileURL(job.module));
const results = job.calls.map(([name, ...given]) => {
  const values = given.map((v) => (v && v.f64 ? Float64Array.from(v.f64) : v));
  const result = module[name](...values);
  const arrays = values.filter((v) => v instanceof Float64Array).map((v) => [...v]);
  return { result: ArrayBuffer.isView(result) ? [...result] : (result ?? null), arrays };
});
process.stdout.write(JSON.stringify(results, (_, v) => (typeof v === "number" && !Number.isFinite(v) ? String(v) : v)));
