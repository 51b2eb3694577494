// npm run test:asan: the JavaScript tests of the addon with the addon built under AddressSanitizer and UBSan (or
// `-- --sanitize thread`), the sanitizer's runtime preloaded into node. The instrumented binary lies in a folder of its own, beside a
// copy of nothing else: KVFERRY_PREBUILD points the loader at it.
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { root, run } from "./lib/run.mjs";

const { values } = parseArgs({ options: { sanitize: { type: "string", default: "address" }, only: { type: "string", multiple: true } } });
const library = { address: "libasan.so", thread: "libtsan.so" }[values.sanitize];
if (library === undefined) {
  console.error(`--sanitize is "${values.sanitize}"; allowed are address and thread`);
  process.exit(2);
}
const runtime = (await run("c++", [`-print-file-name=${library}`])).stdout.trim();
if (!runtime.startsWith("/")) {
  console.error(`the compiler has no ${library}; install its sanitizer runtime (Debian: apt install g++)`);
  process.exit(1);
}
const build = join(root, ".build", `addon-${values.sanitize}`);
const cmakeJs = join(root, "node_modules", "cmake-js", "bin", "cmake-js");
await run(process.execPath, [cmakeJs, "compile", "-d", root, "-O", build, "-B", "RelWithDebInfo", `--CDKVFERRY_SANITIZE=${values.sanitize}`]);
const binary = join(build, "RelWithDebInfo", "kvferry.node");
if (!existsSync(binary)) throw new Error(`the build left no ${binary}`);
// node-gyp-build looks for <dir>/prebuilds/<platform>-<arch>/*.node below what this variable names.
const prebuilds = join(build, "package", "prebuilds", `${process.platform}-${process.arch}`);
mkdirSync(prebuilds, { recursive: true });
copyFileSync(binary, join(prebuilds, "kvferry.node"));

const suppressions = join(root, "scripts", "sanitizer-suppressions.txt");
const env = {
  ...process.env,
  PREBUILDS_ONLY: "1",
  KVFERRY_PREBUILD: join(build, "package"),
  LD_PRELOAD: runtime,
  // V8 keeps what it allocates until exit, so leaks are looked for in the native tests instead.
  ASAN_OPTIONS: "detect_leaks=0:halt_on_error=1:abort_on_error=0:exitcode=99",
  UBSAN_OPTIONS: "print_stacktrace=1:halt_on_error=1",
  TSAN_OPTIONS: `halt_on_error=1:exitcode=99:report_signal_unsafe=0:suppressions=${suppressions}`,
};
const boundary = ["arena", "engine", "hashes", "intern-table", "receivers", "object-files"].map((name) => `unit/native/${name}`);
const only = (values.only ?? [...boundary, "unit/device"]).flatMap((part) => ["--only", part]);
const { code } = await run(process.execPath, ["scripts/test.mjs", "--no-build", "--concurrency", "1", ...only], { show: true, check: false, env });
process.exitCode = code;
