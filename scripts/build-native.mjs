// Builds build/Release/kvferry.node on this machine. Shipped in the package: `kvferry build-native` runs it too.
//
//   node scripts/build-native.mjs [--with cmake|node-gyp|compiler] [--quiet] [--sanitize address|thread]
//
// Three ways, in this order, each offline. CMake is the build (through cmake-js where that is installed). node-gyp is plan B for
// a host with Python and make but no CMake. A plain compiler call is plan C: the addon is C++17 and Node-API headers, nothing
// else. The first way whose tools are here is taken and named; when it fails, that failure is the answer, not a quieter way.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const require = createRequire(join(root, "package.json"));
const ways = { cmake: { find: findCmake, build: withCmake }, "node-gyp": { find: findNodeGyp, build: withNodeGyp }, compiler: { find: findCompiler, build: withCompiler } };

let options;
try {
  options = parseArgs({ options: { with: { type: "string" }, quiet: { type: "boolean", default: false }, sanitize: { type: "string", default: "" } } }).values;
} catch (error) {
  fail(`${error.message}\nusage: build-native [--with cmake|node-gyp|compiler] [--quiet] [--sanitize address|thread]`, 2);
}
if (options.with !== undefined && !(options.with in ways)) fail(`--with is "${options.with}"; allowed are ${Object.keys(ways).join(", ")}`, 2);
if (options.sanitize !== "" && options.with !== undefined && options.with !== "cmake") fail("--sanitize needs --with cmake", 2);

const missing = [];
let built = false;
for (const [name, way] of Object.entries(ways)) {
  if (options.with !== undefined && options.with !== name) continue;
  const found = way.find();
  if (typeof found === "string") {
    missing.push(`  ${name}: ${found}`);
    continue;
  }
  say(`building the addon with ${name}`);
  way.build(found);
  built = true;
  break;
}
if (!built) fail(`kvferry's addon cannot be built here:\n${missing.join("\n")}\nInstall a C++17 compiler and CMake (Debian: apt install g++ cmake), then run this again.`, 1);
verify();

// --- CMake -----------------------------------------------------------------------------------------------------------------

function findCmake() {
  if (!onPath("cmake")) return "cmake is not on PATH";
  if (!onPath("ninja") && !onPath("make")) return "neither ninja nor make is on PATH";
  return compilerOnPath() === undefined ? "no C++ compiler (c++, g++, clang++) on PATH" : {};
}

function withCmake() {
  dropForeignBuild("CMakeCache.txt");
  // Only a clone has cmake-js; it insists on a compiler by the name of g++ or clang++.
  const cmakeJs = join(root, "node_modules", "cmake-js", "bin", "cmake-js");
  if (existsSync(cmakeJs) && (onPath("g++") || onPath("clang++"))) {
    const args = [cmakeJs, "compile", "-d", root, "-l", options.quiet ? "error" : "info"];
    call(process.execPath, [...args, `--CDKVFERRY_SANITIZE=${options.sanitize}`]);
    return;
  }
  // An installed package has no cmake-js; these are the same settings.
  const build = join(root, "build");
  const generator = onPath("ninja") ? ["-G", "Ninja"] : [];
  const settings = { CMAKE_BUILD_TYPE: "Release", CMAKE_LIBRARY_OUTPUT_DIRECTORY: join(build, "Release"), CMAKE_JS_INC: includes().join(";"), KVFERRY_SANITIZE: options.sanitize };
  call("cmake", ["-S", root, "-B", build, ...generator, ...Object.entries(settings).map(([name, value]) => `-D${name}=${value}`)]);
  call("cmake", ["--build", build, "--config", "Release", "--parallel", String(availableParallelism())]);
}

// --- node-gyp --------------------------------------------------------------------------------------------------------------

function findNodeGyp() {
  const script = [join(root, "node_modules"), ...npmDirectories().map((npm) => join(npm, "node_modules"))].map((modules) => join(modules, "node-gyp", "bin", "node-gyp.js")).find((path) => existsSync(path));
  if (script === undefined) return "node-gyp is neither installed nor bundled with npm";
  if (!onPath("python3") && !onPath("python")) return "node-gyp needs Python";
  if (!onPath("make")) return "node-gyp needs make";
  if (compilerOnPath() === undefined) return "no C++ compiler (c++, g++, clang++) on PATH";
  // Without headers beside this Node, node-gyp would fetch them from the network; the compiler call below needs none.
  const nodedir = [process.env.npm_config_nodedir, join(dirname(process.execPath), ".."), "/usr", "/usr/local"].find((path) => path && existsSync(join(path, "include", "node", "common.gypi")));
  return nodedir === undefined ? "Node's headers are not installed beside this Node (include/node/common.gypi)" : { script, nodedir };
}

function withNodeGyp({ script, nodedir }) {
  dropForeignBuild("config.gypi");
  const action = existsSync(join(root, "build", "config.gypi")) ? ["configure", "build"] : ["rebuild"];
  for (const step of action) call(process.execPath, [script, step, `--nodedir=${nodedir}`, "--release", `--jobs=${availableParallelism()}`, ...(options.quiet ? ["--silent"] : [])], { CXX: compilerOnPath(), CC: process.env.CC ?? "cc" });
}

// --- a compiler alone --------------------------------------------------------------------------------------------------------

function findCompiler() {
  const compiler = compilerOnPath();
  return compiler === undefined ? "no C++ compiler (c++, g++, clang++) on PATH" : { compiler };
}

function withCompiler({ compiler }) {
  dropForeignBuild("kvferry-compiler");
  const sources = JSON.parse(readFileSync(join(root, "native", "sources.gypi"), "utf8")).variables;
  const release = join(root, "build", "Release");
  const objects = join(root, "build", "kvferry-compiler");
  mkdirSync(release, { recursive: true });
  mkdirSync(objects, { recursive: true });
  const flags = ["-std=c++17", "-O2", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-ffunction-sections", "-fdata-sections", "-pthread", "-DNAPI_VERSION=9", "-DBUILDING_NODE_EXTENSION", `-DKVFERRY_VERSION="${require("./package.json").version}"`, "-fno-strict-aliasing", ...["core", "napi", "."].map((path) => `-I${join(root, "native", path)}`), ...includes().map((path) => `-I${path}`)];
  const files = Object.values(sources).flat().filter((path) => path.endsWith(".cc"));
  const outputs = files.map((path) => join(objects, `${path.replaceAll("/", "_")}.o`));
  files.forEach((path, index) => {
    say(`  ${path}`);
    call(compiler, [...flags, "-c", sourcePath(path), "-o", outputs[index]]);
  });
  const staged = join(release, `kvferry.node.${process.pid}`);
  call(compiler, ["-shared", "-pthread", "-s", "-Wl,--gc-sections", `-Wl,--version-script=${join(root, "native", "exports.map")}`, "-o", staged, ...outputs, "-ldl", "-lrt"]);
  renameSync(staged, join(release, "kvferry.node"));
}

// --- shared ------------------------------------------------------------------------------------------------------------------

function sourcePath(path) {
  return existsSync(join(root, path)) ? join(root, path) : join(root, "native", path);
}

/** Two build tools cannot share build/; what another one left there is removed, and only that. */
function dropForeignBuild(ownMark) {
  const build = join(root, "build");
  for (const mark of ["CMakeCache.txt", "config.gypi", "kvferry-compiler"]) {
    if (mark !== ownMark && existsSync(join(build, mark))) rmSync(build, { recursive: true, force: true });
  }
}

/** Loads what was built in a fresh process: a binary that does not load is not a success. */
function verify() {
  const file = join(root, "build", "Release", "kvferry.node");
  if (!existsSync(file)) fail(`the build ended without ${file}`, 1);
  if (options.sanitize !== "") return say(`built ${file} with -fsanitize=${options.sanitize}; it loads only with the sanitizer's runtime preloaded`);
  const result = spawnSync(process.execPath, ["-e", "require(process.argv[1])", file], { encoding: "utf8" });
  if (result.status !== 0) fail(`${file} was built but does not load:\n${result.stderr}`, 1);
  say(`built ${file}`);
}

function includes() {
  return [dirname(require.resolve("node-addon-api/napi.h")), require("node-api-headers").include_dir];
}

function compilerOnPath() {
  return [process.env.CXX, "c++", "g++", "clang++"].find((name) => name && onPath(name));
}

function npmDirectories() {
  const prefix = join(dirname(process.execPath), "..");
  return [join(prefix, "lib", "node_modules", "npm"), "/usr/share/nodejs/npm", ...(process.env.npm_execpath ? [join(dirname(process.env.npm_execpath), "..")] : [])];
}

function onPath(name) {
  if (name.includes("/")) return existsSync(name);
  return (process.env.PATH ?? "").split(delimiter).some((directory) => directory !== "" && existsSync(join(directory, name)));
}

function call(command, args, environment = {}) {
  const result = spawnSync(command, args, { cwd: root, env: { ...process.env, ...environment }, encoding: "utf8", stdio: options.quiet ? "pipe" : "inherit", maxBuffer: 1 << 28 });
  if (result.status !== 0) fail(`${command} ${args.join(" ")} ended with ${result.error?.message ?? `exit code ${result.status}`}\n${result.stdout ?? ""}${result.stderr ?? ""}`, 1);
}

function say(text) {
  if (!options.quiet) console.log(text);
}

function fail(text, code) {
  console.error(text);
  process.exit(code);
}
