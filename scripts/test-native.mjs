// npm run test:native [-- --sanitize address|thread] [-- --filter REGEX]: GoogleTest alone.
import { parseArgs } from "node:util";

import { nativeTests } from "./lib/native-tests.mjs";

const { values } = parseArgs({ options: { sanitize: { type: "string", default: "" }, filter: { type: "string" } } });
if (!["", "address", "thread"].includes(values.sanitize)) {
  console.error(`--sanitize is "${values.sanitize}"; allowed are address (with UBSan) and thread`);
  process.exit(2);
}
const counts = await nativeTests(values);
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed > 0 ? 1 : 0;
