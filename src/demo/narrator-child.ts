import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import type { NarratorOrder, StoryEvent } from "./story-events.ts";

export interface NarratorEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A narrator in a process of its own. */
export interface NarratorChild {
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  /** Settles when the process is gone and everything it said has been heard. */
  readonly ended: Promise<NarratorEnd>;
}

/** Starts a narrator; `onEvent` hears what it says, in order. Throws nothing that the child does wrong: look at `ended`. */
export function startNarrator(order: NarratorOrder, onEvent: (event: StoryEvent, child: NarratorChild) => void): NarratorChild {
  const entry = fileURLToPath(new URL("./narrator-process.js", import.meta.url));
  // In a process group of its own: a Ctrl-C is for the caller, who ends this process himself.
  const process_ = spawn(process.execPath, [entry, JSON.stringify(order)], { stdio: ["ignore", "pipe", "inherit"], detached: true });
  const lines = createInterface({ input: process_.stdout });
  const heard = once(lines, "close");
  const child: NarratorChild = {
    pid: process_.pid ?? -1,
    kill: (signal) => void process_.kill(signal),
    ended: new Promise((resolve, reject) => {
      process_.once("error", reject);
      process_.once("exit", (code, signal) => void heard.then(() => resolve({ code, signal }), reject));
    }),
  };
  lines.on("line", (line) => {
    // A SIGKILL may cut the last line short; half an event was not said.
    const event = parseEvent(line);
    if (event !== undefined) onEvent(event, child);
  });
  return child;
}

function parseEvent(line: string): StoryEvent | undefined {
  try {
    return JSON.parse(line) as StoryEvent;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
