import { z } from "zod";

import { defineAdapterType, positiveNumber, text } from "../spec.ts";
import { openPluginAdapter } from "./plugin-adapter.ts";

/** LMCache's `plugin`, with a JavaScript module in place of a Python one. */
export const pluginAdapter = defineAdapterType({
  type: "plugin",
  summary: "your own adapter: a class in a JavaScript module",
  fields: {
    module_path: text("Path of the module, from the working directory"),
    class_name: text("Name of the exported class"),
    adapter_params: z.record(z.string(), z.unknown(), { error: "must be an object" }).default({}).describe("Given to the class's constructor"),
    call_timeout_ms: positiveNumber("A call that has not settled by then counts as failed").default(30_000),
  },
  open: openPluginAdapter,
});
