// npm pack and npm publish run this first (prepack): a clone holds no prebuilt binary, and a package without one for its own packer
// would install without a word and fail at the first call. `--root PATH` looks at another checkout.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { root } from "./lib/run.mjs";

const { values } = parseArgs({ options: { root: { type: "string", default: root } } });
const platform = `${process.platform}-${process.arch}`;
const directory = join(values.root, "prebuilds", platform);
const binaries = existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith(".node")) : [];
if (binaries.length > 0) {
  console.error(`prebuilds/${platform}: ${binaries.join(", ")}`);
} else {
  const allowed = process.env.KVFERRY_PACK_WITHOUT_BINARY === "1";
  console.error(
    [
      `${allowed ? "WARNING" : "REFUSED"}: prebuilds/${platform} holds no binary, so this package would ${allowed ? "" : "install and then "}fail with KVFERRY_NATIVE_MISSING on this host.`,
      "  npm run prebuild                            makes the binaries first (on linux-x64; see docs/building.md)",
      "  KVFERRY_PACK_WITHOUT_BINARY=1 npm pack      packs without; each user then runs npx kvferry build-native",
    ].join("\n"),
  );
  if (!allowed) process.exitCode = 1;
}
