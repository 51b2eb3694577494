import type { World } from "./world.ts";

const adaptersMax = 5;

/** The operator of the simulation: adds and removes adapters, clears L1, changes quotas, and sometimes closes everything too early. */
export async function runOperator(world: World): Promise<void> {
  const { plan, random, faults, clock } = world;
  const closes = faults.strikes("close_in_the_middle");
  const steps = 10 + random.nextBelow(20);
  for (let step = 0; step < steps && world.failure === undefined && !world.closing; step++) {
    await world.sleep(random.nextBelow(600));
    if (closes && step > steps / 2) return void (await closeStorage(world, random.nextBelow(5_000)));
    if (faults.strikes("adapter_added")) await addAdapter(world);
    if (faults.strikes("adapter_removed")) await removeAdapter(world);
    if (faults.strikes("clear_forced")) world.note(`cleared ${JSON.stringify(world.storage.clearL1({ force: random.nextFloat() < 0.7 }))}`);
    if (faults.strikes("quota_changed")) {
      const salt = plan.salts[random.nextBelow(plan.salts.length)];
      await world.within("quota", 0, [], () => world.storage.quotas.set(salt, random.nextBelow(4) * plan.chunkBytes));
    }
    for (const [name, atMostMs] of [["clock_jump", 3_600_000], ["timer_starvation", 10_000]] as const) {
      if (!faults.strikes(name)) continue;
      const jumpMs = random.nextBelow(atMostMs);
      world.jumpedMs += jumpMs;
      clock.jump(jumpMs);
      world.note(`${name} ${jumpMs}`);
    }
  }
}

async function addAdapter(world: World): Promise<void> {
  const { random } = world;
  if (world.storage.adapters.length >= adaptersMax) return;
  const adapter = world.addAdapter({ latencyMs: random.nextBelow(20), heedsSignals: random.nextFloat() < 0.5, knowsKeys: random.nextFloat() < 0.5 });
  await world.within("add adapter", 0, [], () => world.storage.addAdapter(adapter));
}

/** A removal may fail while the adapter hangs; it may never make the storage lose count. */
async function removeAdapter(world: World): Promise<void> {
  const { storage, random } = world;
  if (storage.adapters.length === 0) return;
  const { name } = storage.adapters[random.nextBelow(storage.adapters.length)];
  const deadlineMs = [0, 100, 20_000][random.nextBelow(3)];
  await world.within(`remove ${name}`, deadlineMs + 60_000, ["KVFERRY_ADAPTER"], () => storage.removeAdapter(name, { deadlineMs }));
}

export async function closeStorage(world: World, deadlineMs: number): Promise<void> {
  world.closing = true;
  const report = await world.within("close", 2 * deadlineMs + 60_000, [], () => world.storage.close({ deadlineMs }));
  world.copiesAtClose ||= world.clientIo.size > 0;
  if (report !== undefined) world.note(`closed ${JSON.stringify(report)}`);
}
