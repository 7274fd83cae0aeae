/** Live migration of a machine from one QEMU to another, as its monitor does it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineMonitor } from './machine-monitor.ts';

/** Slow, so that the guest gets much done while its memory is copied. */
const SLOW_BYTES_PER_S = 48 * 1024 * 1024;
/** As good as no limit. */
const FAST_BYTES_PER_S = 8 * 1024 * 1024 * 1024;
/** How often the dirty pages are collected before the end may come. */
const ROUNDS = 4;
const POLL_MS = 50;

interface MigrationState {
  readonly status?: string;
  readonly 'error-desc'?: string;
  readonly ram?: { readonly 'dirty-sync-count': number };
}

/** What a migration was like. */
export interface MigrationSummary {
  /** How often dirty pages were collected, the last time with the guest stopped. */
  readonly rounds: number;
}

/**
 * Migrate a running machine to the one that waits at a socket, in several rounds. Resolves when the
 * guest runs there; rejects if the migration fails.
 */
export async function migrate(
  monitor: MachineMonitor,
  socketPath: string,
): Promise<MigrationSummary> {
  const limit = (bytesPerS: number): Promise<unknown> =>
    monitor.execute('migrate-set-parameters', { 'max-bandwidth': bytesPerS });
  const rounds = (state: MigrationState): number => state.ram?.['dirty-sync-count'] ?? 0;
  // Nothing that the guest dirties meanwhile is few enough: the rounds go on until told otherwise.
  await monitor.execute('migrate-set-parameters', { 'downtime-limit': 1 });
  await limit(SLOW_BYTES_PER_S);
  await monitor.execute('migrate', { uri: `unix:${socketPath}` });
  let isLimited = true;
  for (;;) {
    const state = (await monitor.execute('query-migrate')) as MigrationState;
    if (state.status === 'completed') return { rounds: rounds(state) };
    if (state.status === 'failed' || state.status === 'cancelled') {
      throw new Error(`the migration has ${state.status}: ${state['error-desc'] ?? ''}`);
    }
    if (isLimited && rounds(state) >= ROUNDS) {
      isLimited = false;
      await monitor.execute('migrate-set-parameters', { 'downtime-limit': 2000 });
      await limit(FAST_BYTES_PER_S);
    }
    await sleep(POLL_MS);
  }
}
