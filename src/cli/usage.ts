/**
 * What a person typed, checked in one place: every refusal is one sentence that names the flag, what came, what is allowed and the
 * nearest known name. Exit codes: 0 done, 1 the run failed, 2 the command line was wrong, 128 + n ended by signal n.
 */
import type { Command, CommanderError } from "commander";

import { didYouMean } from "../base/nearest.ts";

export const exitCodes = { ok: 0, failed: 1, usage: 2 } as const;

/** The command line cannot be carried out as typed. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

const numberPattern = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** Parser of an integer flag in [min, max]. */
export function integerFlag(flag: string, min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  const allowed = max === Number.MAX_SAFE_INTEGER ? `an integer of at least ${min}` : `an integer from ${min} to ${max}`;
  return (text) => {
    const value = numberPattern.test(text) ? Number(text) : NaN;
    if (!Number.isSafeInteger(value) || value < min || value > max) throw new UsageError(`${flag} must be ${allowed}, got "${text}"`);
    return value;
  };
}

/** Parser of a flag that wants a number above 0, at most `max`. */
export function positiveNumberFlag(flag: string, max = Infinity): (text: string) => number {
  return (text) => {
    const value = numberPattern.test(text) ? Number(text) : NaN;
    if (!Number.isFinite(value) || value <= 0 || value > max) throw new UsageError(`${flag} must be a number above 0${max === Infinity ? "" : ` and at most ${max}`}, got "${text}"`);
    return value;
  };
}

/** Checks a name against the known ones; letter case must agree, as in LMCache, but a wrong case gets the right one named. */
export function checkChoice<Name extends string>(flag: string, text: string, known: readonly Name[]): Name {
  const found = known.find((name) => name === text);
  if (found === undefined) throw new UsageError(`${flag} must be one of ${known.join(", ")}; got "${text}"${didYouMean(text, known)}`);
  return found;
}

/** Parser of a repeatable flag whose value is one JSON object. */
export function collectJsonObjects(flag: string): (text: string, earlier?: readonly Record<string, unknown>[]) => Record<string, unknown>[] {
  return (text, earlier) => {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new UsageError(`${flag} must be a JSON object such as '{"type":"fs","base_path":"/mnt/kv"}', got ${quote(text)} (${(error as Error).message})`);
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new UsageError(`${flag} must be a JSON object, got ${quote(text)}`);
    return [...(earlier ?? []), value as Record<string, unknown>];
  };
}

/** Flags that mean nothing beside another one are refused instead of ignored. */
export function refuseFlags(given: Readonly<Record<string, unknown>>, flags: Readonly<Record<string, string>>, why: string): void {
  for (const [name, flag] of Object.entries(flags)) if (given[name] !== undefined) throw new UsageError(`${flag} ${why}`);
}

/** commander's refusal of `command`'s arguments as one sentence. */
export function usageErrorOf(error: CommanderError, command: Command): UsageError {
  const message = error.message.replace(/^error: /, "").split("\n")[0];
  const quoted = /'([^']*)'/.exec(message)?.[1] ?? "";
  switch (error.code) {
    case "commander.unknownOption": {
      const flags = command.options.map((option) => option.long ?? option.flags);
      return new UsageError(`unknown option ${quoted}${didYouMean(quoted, [...flags, "--help"])}`);
    }
    case "commander.unknownCommand": {
      const known = command.commands.map((other) => other.name());
      return new UsageError(`unknown command "${quoted}"; known: ${known.join(", ")}${didYouMean(quoted, known)}`);
    }
    case "commander.optionMissingArgument":
      return new UsageError(`${quoted} needs a value`);
    case "commander.missingArgument":
      return new UsageError(`argument ${quoted.toUpperCase()} is missing: ${command.name()} ${command.usage()}`);
    case "commander.excessArguments":
      return new UsageError(`too many arguments: ${command.name()} ${command.usage()}`);
    default:
      return new UsageError(message);
  }
}

function quote(text: string): string {
  return `'${text.length > 80 ? `${text.slice(0, 80)}...` : text}'`;
}
