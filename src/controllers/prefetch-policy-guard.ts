import { answerAtOnce } from "../base/answer-at-once.ts";
import type { Counter, Counters } from "../base/counters.ts";
import { errorText } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { KeyBatch } from "../keys/key-batch.ts";
import type { FoundRows, LoadPlan, PrefetchPolicy } from "../policies/contract.ts";
import { DefaultPrefetchPolicy } from "../policies/prefetch/default.ts";
import type { KeyGrid } from "./key-grid.ts";
import { lendKeys } from "./lend.ts";

/**
 * A prefetch policy under supervision: what it throws, or answers in a form or with a promise that cannot be kept, is counted and reported,
 * and the default policy plans instead. A lookup never counts what a read could not deliver.
 */
export class PrefetchPolicyGuard {
  readonly #policy: PrefetchPolicy;
  readonly #logger: Logger;
  readonly #errors: Counter;
  readonly #fallback: PrefetchPolicy = new DefaultPrefetchPolicy();

  constructor(policy: PrefetchPolicy, counters: Counters, logger: Logger) {
    this.#policy = policy;
    this.#logger = logger;
    this.#errors = counters.counter("kvferry_policy_errors_total", { kind: "prefetch", policy: policy.name });
  }

  /** A plan whose cells exist and whose hit its cells serve. */
  plan(grid: KeyGrid, l1Found: FoundRows, l2Found: ReadonlyMap<number, FoundRows>, fetching: "prefix" | "full"): LoadPlan {
    try {
      // Copies: what the plan is held against must be what the policy was shown.
      const rows = grid.rows.map((row) => ({ ...row, keys: lendKeys(row.keys) }));
      const shown = new Map([...l2Found].map(([index, found]) => [index, copyOf(found)]));
      const answer = answerAtOnce(this.#policy.planLoad(rows, grid.columns, copyOf(l1Found), shown, fetching));
      if (typeof answer !== "object" || answer === null || !(answer.fromL2 instanceof Map)) throw new TypeError("planLoad must answer {fromL1, fromL2: Map, hitChunks}");
      // Read once: what is checked is what is carried out.
      const plan: LoadPlan = { fromL1: answer.fromL1, fromL2: answer.fromL2, hitChunks: answer.hitChunks };
      checkPlan(plan, grid, l1Found, l2Found, fetching);
      return plan;
    } catch (error) {
      this.#note(errorText(error));
      return this.#fallback.planLoad(grid.rows, grid.columns, l1Found, l2Found, fetching);
    }
  }

  /** 1 per key whose copy leaves L1 with its last lease. */
  temporary(keys: KeyBatch): Uint8Array {
    try {
      const retained = answerAtOnce(this.#policy.planL1Retention(lendKeys(keys)));
      if (!(retained instanceof Uint8Array) || retained.length !== keys.count) throw new TypeError(`planL1Retention must answer one flag per key (${keys.count})`);
      return retained.map((retain) => (retain !== 0 ? 0 : 1));
    } catch (error) {
      this.#note(errorText(error));
      return new Uint8Array(keys.count).fill(1);
    }
  }

  #note(what: string): void {
    this.#errors.add(1);
    this.#logger.error("prefetch_policy", `prefetch policy ${this.#policy.name} failed: ${what}`);
  }
}

function checkPlan(plan: LoadPlan, grid: KeyGrid, l1Found: FoundRows, l2Found: ReadonlyMap<number, FoundRows>, fetching: "prefix" | "full"): void {
  const { fromL1, hitChunks } = plan;
  if (!Number.isInteger(hitChunks) || hitChunks < 0 || hitChunks > grid.columns) throw new TypeError(`hitChunks must be an integer from 0 to ${grid.columns}, got ${hitChunks}`);
  for (const rows of [fromL1, ...plan.fromL2.values()]) checkRows(rows, grid);
  for (let row = 0; row < grid.rows.length; row++) {
    if (fromL1[row].some((bit, column) => bit !== 0 && l1Found[row][column] === 0)) throw new TypeError(`fromL1 names a chunk of row ${row} that L1 does not have`);
    checkLoads(plan, row, l2Found);
    if (fetching === "prefix") checkServes(plan, row, grid.rows[row].windowChunks);
  }
}

function checkRows(rows: FoundRows, grid: KeyGrid): void {
  if (!Array.isArray(rows) || rows.length !== grid.rows.length || rows.some((row) => !(row instanceof Uint8Array) || row.length !== grid.columns))
    throw new TypeError(`a plan needs ${grid.rows.length} rows of ${grid.columns} flags`);
}

/** Each chunk comes from one adapter, which said that it has it. */
function checkLoads({ fromL2 }: LoadPlan, row: number, l2Found: ReadonlyMap<number, FoundRows>): void {
  const planned = new Set<number>();
  for (const [index, rows] of fromL2) {
    rows[row].forEach((bit, column) => {
      if (bit === 0) return;
      if (l2Found.get(index)?.[row][column] !== 1) throw new TypeError(`fromL2 names chunk ${column} of row ${row} at adapter ${index}, which did not find it`);
      if (planned.has(column)) throw new TypeError(`fromL2 names chunk ${column} of row ${row} at two adapters`);
      planned.add(column);
    });
  }
}

function copyOf(rows: FoundRows): FoundRows {
  return rows.map((row) => row.slice());
}

/** A row serves a prefix when its last min(window, prefix) chunks are planned. */
function checkServes({ fromL1, fromL2, hitChunks }: LoadPlan, row: number, windowChunks: number): void {
  const first = windowChunks > 0 ? Math.max(0, hitChunks - windowChunks) : 0;
  for (let column = first; column < hitChunks; column++) {
    if (fromL1[row][column] !== 0) continue;
    if (![...fromL2.values()].some((rows) => rows[row][column] !== 0)) throw new TypeError(`hitChunks ${hitChunks} promises chunk ${column} of row ${row}, which is in no plan`);
  }
}
