/**
 * Reading one `--l2-adapter` JSON object: zod checks types and ranges, this file turns zod's findings into the sentences kvferry promises
 * (field, what came, what is allowed, nearest known name) and adds the fields that every adapter shares, in LMCache's spelling.
 */
import { z } from "zod";

import { GiB } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";
import { didYouMean } from "../base/nearest.ts";
import { show } from "../base/show.ts";
import type { AdapterContext, AdapterSpec, AdapterType, KnownNames, L2Adapter } from "./contract.ts";

/** A checker's error text is the "what is allowed" half of the sentence: `must be a positive number`. */
export const positiveNumber = (what: string) =>
  z.number({ error: "must be a positive number" }).gt(0, { error: "must be a positive number" }).describe(what);
export const numberBetween = (low: number, high: number, what: string) => {
  const error = `must be a number from ${low} to ${high}`;
  return z.number({ error }).min(low, { error }).max(high, { error }).describe(what);
};
export const nonNegativeNumber = (what: string) =>
  z.number({ error: "must be a number of at least 0" }).min(0, { error: "must be a number of at least 0" }).describe(what);
export const integerFrom = (low: number, what: string) => {
  const error = `must be an integer of at least ${low}`;
  return z.int({ error }).min(low, { error }).describe(what);
};
export const text = (what: string) => {
  const error = "must be a non-empty text";
  return z.string({ error }).min(1, { error }).describe(what);
};
export const flag = (what: string) => z.boolean({ error: "must be true or false" }).describe(what);

export const builtInEvictionPolicies: readonly string[] = ["LRU", "ARC", "FIFO", "IsolatedLRU", "noop"];

/** The `eviction` block, LMCache's names and defaults; numbers are range-checked, which LMCache leaves out. */
export const evictionSchema = z.strictObject(
  {
    eviction_policy: text(`Eviction policy: ${builtInEvictionPolicies.join(", ")} or a registered name`).default("LRU"),
    trigger_watermark: numberBetween(0, 1, "Part of the capacity in use from which objects are evicted").default(0.8),
    eviction_ratio: numberBetween(0, 1, "Part of the known keys that one pass evicts").default(0.2),
  },
  { error: "must be an object with eviction_policy, trigger_watermark, eviction_ratio" },
);
export type EvictionSpec = z.infer<typeof evictionSchema>;

/** Fields that LMCache reads for every adapter type. */
const commonShape = {
  affinity_tag: text("L1 this adapter serves; kvferry has one L1, `_default`").default("_default"),
  shared: flag("Several processes use the same place").default(false),
  persist_enabled: flag("Objects may outlive the process").default(true),
  serde: z.unknown().optional().describe("LMCache's transformation of objects; refused, kvferry has none yet"),
};

export interface AdapterDefinition<Shape extends z.ZodRawShape> {
  readonly type: string;
  readonly summary: string;
  /** Fields besides the common ones; put `eviction: evictionSchema.optional()` here when the adapter evicts. */
  readonly fields: Shape;
  /** Combinations that zod cannot say, refused through `refuse`; returns the spec, with nested ones checked by `parseNested`. */
  check?(spec: ParsedSpec<Shape>, refuse: Refuse, parseNested: (spec: unknown, field: string) => AdapterSpec): ParsedSpec<Shape>;
  open(spec: ParsedSpec<Shape>, context: AdapterContext): Promise<L2Adapter>;
}
export type Refuse = (field: string, sentence: string) => never;
export type ParsedSpec<Shape extends z.ZodRawShape> = z.infer<z.ZodObject<Shape>> & { readonly type: string; readonly shared: boolean; readonly persist_enabled: boolean };

/** Makes a registrable type from a definition. */
export function defineAdapterType<Shape extends z.ZodRawShape>(definition: AdapterDefinition<Shape>): AdapterType {
  const schema = z.strictObject({ type: z.literal(definition.type), ...commonShape, ...definition.fields });
  return {
    type: definition.type,
    summary: definition.summary,
    jsonSchema: z.toJSONSchema(schema, { io: "input" }) as Record<string, unknown>,
    parse(spec, path, known) {
      const label = `${path} ('${definition.type}')`;
      const result = schema.safeParse(spec);
      if (!result.success) throw explain(weightiest(result.error.issues), spec, path, label, schema);
      const parsed = result.data as ParsedSpec<Shape>;
      const refuse: Refuse = (field, sentence) => {
        throw new ConfigError(`${path}.${field}`, `${label}: ${field} ${sentence}`);
      };
      checkCommonFields(parsed, refuse, known);
      const parseNested = (nested: unknown, field: string): AdapterSpec => {
        if (known?.parseNested === undefined) throw new TypeError(`${definition.type} must be parsed through the registry`);
        return known.parseNested(nested, `${path}.${field}`);
      };
      return (definition.check?.(parsed, refuse, parseNested) ?? parsed) as unknown as AdapterSpec;
    },
    // parse() made this value: the registry never opens a spec that did not pass it.
    open: (spec, context) => definition.open(spec as unknown as ParsedSpec<Shape>, context),
  };
}

function checkCommonFields(spec: object, refuse: Refuse, known?: Partial<KnownNames>): void {
  const common = spec as { affinity_tag: string; serde?: unknown; eviction?: EvictionSpec };
  if (common.affinity_tag !== "_default")
    refuse("affinity_tag", `must be "_default", got ${show(common.affinity_tag)}: Unknown L1 affinity_tag: '${common.affinity_tag}' (kvferry has one L1)`);
  if (common.serde !== undefined)
    refuse("serde", `is not supported, got ${show(common.serde)}; leave it out (kvferry stores objects as they are, checksummed)`);
  if (common.eviction !== undefined) {
    const names = known?.evictionPolicies ?? builtInEvictionPolicies;
    const name = common.eviction.eviction_policy;
    if (!names.includes(name)) refuse("eviction.eviction_policy", `must be one of ${names.join(", ")}, got ${show(name)}${didYouMean(name, names)}`);
  }
}

/** A misspelled field first: that another is missing often only follows from it. */
function weightiest(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue {
  return issues.find((issue) => issue.code === "unrecognized_keys") ?? issues[0];
}

/** One of zod's findings as one sentence. */
function explain(issue: z.core.$ZodIssue, spec: unknown, path: string, label: string, schema: z.ZodType): ConfigError {
  const field = fieldName(issue.path);
  if (issue.code === "unrecognized_keys") {
    const name = issue.keys[0];
    const where = field === "" ? name : `${field}.${name}`;
    const names = fieldNames(schema, issue.path);
    return new ConfigError(`${path}.${where}`, `${label}: unknown field ${where}; known: ${names.join(", ")}${didYouMean(name, names)}`);
  }
  const value = issue.path.reduce<unknown>((inner, step) => (inner as Record<PropertyKey, unknown> | undefined)?.[step], spec);
  const got = value === undefined ? "it is missing" : `got ${show(value)}`;
  return new ConfigError(`${path}.${field}`, `${label}: ${field} ${issue.message}, ${got}`);
}

function fieldName(path: readonly PropertyKey[]): string {
  return path.map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`)).join("").replace(/^\./, "");
}

/** Names of the object schema at `path`, looking through optional and default wrappers. */
function fieldNames(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let current: unknown = schema;
  for (const step of path) current = shapeOf(current)?.[String(step)];
  return Object.keys(shapeOf(current) ?? {});
}

function shapeOf(schema: unknown): Record<string, unknown> | undefined {
  let current = schema;
  while (current instanceof z.ZodOptional || current instanceof z.ZodDefault || current instanceof z.ZodPrefault) current = current.unwrap();
  return current instanceof z.ZodObject ? (current.shape as Record<string, unknown>) : undefined;
}

/** LMCache's rule for sizes in configuration: GB means GiB, fractions are cut to whole bytes. */
export function gibToBytes(gib: number): number {
  return Math.trunc(gib * GiB);
}
