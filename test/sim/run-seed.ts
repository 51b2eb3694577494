import { SeededRandom } from "../../src/base/random.ts";
import type { NativeBinding } from "../../src/native/binding.ts";
import { loadBinding } from "../../src/native/load.ts";
import { NativeRuntime } from "../../src/native/runtime.ts";
import { openStorage, type StorageConfigInput } from "../../src/storage/index.ts";
import { closeStorage, runOperator } from "./chaos.ts";
import type { FaultName } from "./faults.ts";
import { Invariants } from "./invariants.ts";
import { checkDrained, checkClosed, checkStillWorks } from "./endings.ts";
import { runClient } from "./sessions.ts";
import { drawPlan, type SwarmPlan } from "./swarm.ts";
import { throwBy, throwing } from "./throwing-policies.ts";
import { SimFailure, World } from "./world.ts";

export interface SeedResult {
  readonly seed: number;
  readonly plan: SwarmPlan;
  readonly traceHash: string;
  readonly events: number;
  readonly virtualMs: number;
  readonly failure: SimFailure | undefined;
  /** The last lines of the trace, for a failure's report. */
  readonly lastLines: readonly string[];
}

export interface SeedOptions {
  /** Struck faults are added to these counts. */
  readonly counts?: Map<FaultName, number>;
  readonly print?: (line: string) => void;
  /** How the tests of the simulation plant a bug: a changed scenario, a changed addon. */
  readonly adjust?: (plan: SwarmPlan) => SwarmPlan;
  readonly binding?: NativeBinding;
}

/** Events after which a run that has not ended is taken for a storm of its own making. */
const eventsMax = 200_000;

/** Runs one seed from opening to close. Answers what happened; never throws for a broken promise of the storage. */
export async function runSeed(seed: number, options: SeedOptions = {}): Promise<SeedResult> {
  const drawn = drawPlan(new SeededRandom(seed * 4));
  const plan = options.adjust?.(drawn) ?? drawn;
  const runtime = new NativeRuntime({ stepped: true }, options.binding ?? loadBinding());
  const world = new World(seed, plan, runtime, options.counts ?? new Map<FaultName, number>(), options.print);
  // A promise that nobody waits for and that rejects is a bug of the control plane; an assertion that fails there arrives here.
  const onRejection = (reason: unknown): void => world.fail(`unhandled rejection: ${(reason as Error).stack ?? String(reason)}`);
  process.on("unhandledRejection", onRejection);
  try {
    await play(world);
  } catch (error) {
    world.fail(error instanceof SimFailure ? error.message : `thrown in the run: ${(error as Error).stack ?? String(error)}`);
  } finally {
    process.off("unhandledRejection", onRejection);
    if (world.failure === undefined) await runtime.close();
  }
  const { trace, failure } = world;
  return { seed, plan, traceHash: trace.hash, events: trace.events, virtualMs: world.clock.nowMs(), failure, lastLines: trace.last(60) };
}

async function play(world: World): Promise<void> {
  const { plan } = world;
  world.note(JSON.stringify(plan));
  throwBy(world.faults);
  world.storage = await openStorage(configOf(world), {
    clock: world.clock,
    random: new SeededRandom(world.seed * 4 + 3),
    counters: world.counters,
    runtime: world.runtime,
    memoryLimitBytes: 2 ** 32,
  });
  const invariants = new Invariants(world);
  const clients = [runOperator(world), ...Array.from({ length: plan.clients }, () => runClient(world))];
  await drive(world, invariants, Promise.all(clients));
  if (!world.closing) {
    await drive(world, invariants, checkDrained(world));
    await drive(world, invariants, checkStillWorks(world));
  }
  await drive(world, invariants, closeStorage(world, 30_000));
  // What timers are left must not bring anything back to life, and there must be an end of them.
  await drive(world, invariants, checkClosed(world));
}

/** Lets virtual time pass, one event at a time, until `goal` is reached. */
async function drive(world: World, invariants: Invariants, goal: Promise<unknown>): Promise<void> {
  const { clock, runtime, trace, random, faults } = world;
  let reached = false;
  goal.then(
    () => (reached = true),
    (error: unknown) => {
      reached = true;
      world.fail(`a client failed: ${(error as Error).stack ?? String(error)}`);
    },
  );
  for (;;) {
    await settle();
    invariants.check();
    if (world.failure !== undefined) throw world.failure;
    if (reached) return;
    trace.events++;
    if (trace.events > eventsMax) throw new SimFailure(`no end after ${eventsMax} events; running: ${[...world.running.values()].join("; ")}`);
    if (runtime.pendingCount > 0 && (faults.healed || random.nextFloat() < 0.7)) {
      runtime.engine.step(1);
      runtime.drain();
    } else if (!clock.runNext()) {
      throw new SimFailure(`nothing is due and nothing goes on; running: ${[...world.running.values()].join("; ") || "a settlement"}`);
    }
  }
}

/** Every microtask that can run has run when the loop comes round: no real time is involved, so the order is the same in every run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function configOf(world: World): StorageConfigInput {
  const { plan } = world;
  const named = (name: string): string => (plan.policiesThrow ? throwing(name) : name);
  return {
    l1: {
      sizeBytes: plan.l1SizeBytes,
      evictionPolicy: named(plan.evictionPolicy),
      storeWaitMs: plan.storeWaitMs,
      writeTtlSeconds: plan.writeTtlSeconds,
      readTtlSeconds: plan.readTtlSeconds,
      storeShare: plan.storeShare,
      loadShare: plan.loadShare,
      hugePages: false,
    },
    l2: {
      storePolicy: named(plan.storePolicy),
      prefetchPolicy: named(plan.prefetchPolicy),
      prefetchMaxInFlight: plan.prefetchMaxInFlight,
      loadDeadlineMs: plan.loadDeadlineMs,
      loadTimeoutMs: plan.loadTimeoutMs,
      storeDeadlineMs: plan.storeDeadlineMs,
      storeAttemptsMax: plan.storeAttemptsMax,
      storePressure: plan.storePressure,
      storeBytesInFlightMax: plan.storeBytesInFlightMax,
      adapters: [
        ...plan.adapters.map((options) => world.addAdapter(options)),
        ...(plan.withMock ? [{ type: "mock", max_size_gb: 0.002, mock_bandwidth_gb: 1 }] : []),
      ],
    },
    quotas: { defaultBytes: plan.defaultQuotaBytes },
  };
}
