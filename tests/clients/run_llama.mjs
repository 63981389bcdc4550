// Loads a GGUF with the prebuilt llama.cpp inside the npm package node-llama-cpp, found
// from the working directory, and generates tokens greedily. The line "tokens" depends on
// the file and the processor type alone, so two folders on one machine can be compared.
//
//     node run_llama.mjs MODEL.gguf [--n 16] [--mode mmap|read|direct|lazy] [--prompt TEXT]
import {createRequire} from "node:module";
import path from "node:path";
import {performance} from "node:perf_hooks";
import {pathToFileURL} from "node:url";

const packageDir = path.join(process.cwd(), "node_modules", "node-llama-cpp");

function findPackage() {
    try {
        return createRequire(path.join(process.cwd(), "x.js")).resolve("node-llama-cpp");
    } catch {
        return path.join(packageDir, "dist", "index.js");
    }
}

const args = process.argv.slice(2);
function option(name, otherwise) {
    const at = args.indexOf("--" + name);
    return at < 0 ? otherwise : args[at + 1];
}

const {getLlama, LlamaLogLevel} = await import(pathToFileURL(findPackage()).href);
const mode = option("mode", "mmap");
const count = Number(option("n", "16"));
const llama = await getLlama({
    gpu: false, build: "never", maxThreads: 2, logLevel: LlamaLogLevel.error
});
const began = performance.now();
const model = await llama.loadModel({
    modelPath: path.resolve(args[0]), gpuLayers: 0,
    useMmap: mode === "mmap" || mode === "lazy",
    useDirectIo: mode === "direct",
    ...(mode === "lazy" ? {lazyMode: true} : {})
});
const loaded = performance.now();
const context = await model.createContext({contextSize: 256, batchSize: 64, threads: 2});
const prompt = [model.tokens.bos ?? 1, ...model.tokenize(option("prompt", "hello"))];
const tokens = [];
let first = 0;
for await (const token of context.getSequence().evaluate(prompt, {temperature: 0})) {
    if (!tokens.length)
        first = performance.now();
    tokens.push(token);
    if (tokens.length >= count)
        break;
}
console.log("tokens", JSON.stringify(tokens));
console.error(`mode=${mode} load_ms=${(loaded - began).toFixed(0)} ` +
    `first_token_ms=${(first - began).toFixed(0)}`);
await context.dispose();
await model.dispose();
await llama.dispose();
process.exit(0);
