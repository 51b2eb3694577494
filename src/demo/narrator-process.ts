/** Entry of a narrator process: order in as JSON argument, events out as JSON lines. Started by story.ts, and by the kill test. */
import { writeSync } from "node:fs";

import { narrate } from "./narrator.ts";
import type { NarratorOrder } from "./story-events.ts";

const order = JSON.parse(process.argv[2]) as NarratorOrder;
// Written synchronously: what this process has said before a SIGKILL is what the other side will read.
await narrate(order, (event) => {
  try {
    writeSync(1, `${JSON.stringify(event)}\n`);
  } catch (error) {
    // The one who listened is gone, and nobody is left to be told.
    if ((error as NodeJS.ErrnoException).code === "EPIPE") process.exit(1);
    throw error;
  }
});
