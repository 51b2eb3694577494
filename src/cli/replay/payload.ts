export async function runPayloadReplay(): Promise<number> { return 1; }
