/**
 * The conformance suite of L2 adapters, exported as `kvferry/testing`. An adapter that passes keeps the promises of contract.ts as far as
 * tests can tell; every adapter of kvferry runs it.
 */
import { errorText } from "../../base/errors.ts";
import { objectCases } from "./cases.ts";
import { type AdapterPlace, Harness, type TestContext } from "./harness.ts";
import { lifeCases } from "./life-cases.ts";

export interface L2AdapterSuite {
  /** node:test's `test`, or anything that takes a name and an async body. */
  readonly test: (name: string, body: () => Promise<void>) => unknown;
  /** In front of every test's name. */
  readonly name: string;
  /** An empty store; called once per test. */
  createPlace(): Promise<AdapterPlace>;
  createContext(): TestContext;
  /** Fixes the sequence of sizes and bytes; printed by a failing test. */
  readonly seed?: number;
}

export function runL2Conformance(suite: L2AdapterSuite): void {
  const seed = suite.seed ?? 20_260_722;
  for (const conformanceCase of [...objectCases, ...lifeCases])
    suite.test(`${suite.name} ${conformanceCase.name}`, async () => {
      const harness = new Harness(seed, await suite.createPlace(), suite.createContext());
      let failure: unknown;
      try {
        const adapter = await harness.open();
        if (conformanceCase.applies?.(adapter) !== false) await conformanceCase.run(harness, adapter);
      } catch (error) {
        failure = error;
      }
      if (failure !== undefined) {
        // The case's own failure is the news; what is left in flight after it is not.
        await harness.finish().catch(() => undefined);
        throw new Error(`${errorText(failure)} (seed ${seed})`, { cause: failure });
      }
      await harness.finish();
    });
}
