/** Control of a running QEMU from a test: its machine protocol, QMP. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** QEMU's arguments to have a monitor at a path. */
export function monitorArguments(path: string): string[] {
  return ['-qmp', `unix:${path},server=on,wait=off`];
}

/** A connection to a monitor. */
export class MachineMonitor implements Disposable {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;

  static async connect(path: string): Promise<MachineMonitor> {
    const socket = connect(path);
    await once(socket, 'connect');
    const monitor = new MachineMonitor(socket);
    await monitor.execute('qmp_capabilities');
    return monitor;
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = createInterface(socket)[Symbol.asyncIterator]();
  }

  /** Have a command done, and return what QEMU answers. Rejects if it refuses. */
  async execute(command: string, args: object = {}): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    for (;;) {
      const { value, done } = await this.#lines.next();
      const line = done ? '' : String(value);
      if (line.startsWith('{"return"')) return (JSON.parse(line) as { return: unknown }).return;
      // In between there are the greeting and events.
      if (done || line.startsWith('{"error"')) throw new Error(`QMP ${command} failed: ${line}`);
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
