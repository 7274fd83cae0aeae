/** What a command line of vhost-user-blk asks for, and what is wrong with it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  configOf,
  createCommand,
  type VhostUserBlkConfig,
} from '../../../src/cli/vhost-user-blk-options.ts';
import { type OpenOptions, parseDisk } from '../../../src/storage/index.ts';
import { complaintOf } from '../../support/command-complaint.ts';

const SOCKET = ['-s', '/run/disk.sock'];
const DISK = ['-b', 'image.raw'];

let engine: string | undefined;
before(() => {
  engine = process.env.VHOSTKIT_ENGINE;
  delete process.env.VHOSTKIT_ENGINE;
});
after(() => {
  if (engine !== undefined) process.env.VHOSTKIT_ENGINE = engine;
});

/** @param activated - the descriptor of a socket that was passed by a service manager. */
function parseActivated(
  activated: number | undefined,
  ...argv: readonly string[]
): VhostUserBlkConfig {
  const command = createCommand('1.2.3')
    .exitOverride()
    .configureOutput({ writeErr: () => {}, writeOut: () => {} });
  command.parse(argv, { from: 'user' });
  return configOf(command, activated);
}

function parse(...argv: readonly string[]): VhostUserBlkConfig {
  return parseActivated(undefined, ...argv);
}

/** The complaint about a command line. */
function complaint(...argv: readonly string[]): string {
  return complaintOf(() => parse(...argv), argv);
}

const DEFAULTS: VhostUserBlkConfig = {
  socket: { kind: 'path', path: '/run/disk.sock', access: {}, takeOver: false },
  disk: {
    source: { kind: 'image', path: 'image.raw' },
    options: { readOnly: false, cache: 'writeback', locking: true },
  },
  explain: false,
  numQueues: 8,
  queueSize: 1024,
  threads: 1,
  serial: 'vhostkit',
  maxPollUs: 100,
  engine: 'auto',
  sandbox: 'auto',
  isolate: false,
  shutdownTimeoutMs: 800,
  logLevel: 'info',
  logFormat: 'text',
};

test('a socket and a disk are enough: the rest has defaults', () => {
  assert.deepEqual(parse(...SOCKET, ...DISK), DEFAULTS);
});

test('short and long forms, with a space or an equals sign, are the same', () => {
  const forms = [
    ['--socket-path', '/run/disk.sock', '--blk-file', 'image.raw', '--read-only'],
    ['--socket-path=/run/disk.sock', '--blk-file=image.raw', '-r'],
    ['-s/run/disk.sock', '-bimage.raw', '-r'],
    ['-r', ...DISK, ...SOCKET],
  ];
  const expected = {
    ...DEFAULTS,
    disk: { ...DEFAULTS.disk, options: { ...DEFAULTS.disk.options, readOnly: true } },
  };
  for (const form of forms) assert.deepEqual(parse(...form), expected);
  assert.deepEqual(parse('-f', '3', ...DISK).socket, { kind: 'fd', fd: 3 });
  assert.deepEqual(parse('--fd=0', ...DISK).socket, { kind: 'fd', fd: 0 });
});

test('every option changes what it is about, and nothing else', () => {
  const { disk } = DEFAULTS;
  const opened = (options: OpenOptions): Partial<VhostUserBlkConfig> => ({
    disk: { ...disk, options: { ...disk.options, ...options } },
  });
  const cases: readonly (readonly [string, Partial<VhostUserBlkConfig>])[] = [
    ['--num-queues=256', { numQueues: 256 }],
    ['--num-queues=1', { numQueues: 1 }],
    ['--queue-size=32768', { queueSize: 32768 }],
    ['--queue-size=1', { queueSize: 1 }],
    ['--threads=4', { threads: 4 }],
    ['--cache=none', opened({ cache: 'none' })],
    ['--cache=writethrough', opened({ cache: 'writethrough' })],
    ['--serial=', { serial: '' }],
    ['--serial=12345678901234567890', { serial: '12345678901234567890' }],
    ['--block-size=4096', opened({ blockBytes: 4096 })],
    ['--poll-max-us=0', { maxPollUs: 0 }],
    ['--poll-max-us=1000000', { maxPollUs: 1_000_000 }],
    ['--locking=off', opened({ locking: false })],
    ['--sandbox=on', { sandbox: 'on' }],
    ['--sandbox=off', { sandbox: 'off' }],
    ['--engine=epoll', { engine: 'epoll' }],
    ['--engine=io_uring', { engine: 'io_uring' }],
    ['--shutdown-timeout=1', { shutdownTimeoutMs: 1 }],
    ['--shutdown-timeout=3600000', { shutdownTimeoutMs: 3_600_000 }],
    ['--log-level=debug', { logLevel: 'debug' }],
    ['--log-format=json', { logFormat: 'json' }],
  ];
  for (const [option, change] of cases) {
    assert.deepEqual(parse(...SOCKET, ...DISK, option), { ...DEFAULTS, ...change }, option);
  }
});

test('--disk takes a null disk of any sensible size', () => {
  const sizes: Record<string, number> = {
    '512': 512,
    '1G': 2 ** 30,
    '1g': 2 ** 30,
    '1.5T': 1.5 * 2 ** 40,
    '4GiB': 2 ** 32,
    '0.5K': 512,
    '2P': 2 ** 51,
  };
  for (const [text, sizeBytes] of Object.entries(sizes)) {
    const { source } = parse(...SOCKET, `--disk=null,size=${text}`).disk;
    assert.deepEqual(source, { kind: 'written', text: `null,size=${text}` });
    assert.deepEqual(parseDisk(`null,size=${text}`).parameters, { size: sizeBytes }, text);
  }
});

test('a disk that makes no sense is refused with what was expected', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /unknown kind ""; known: file, /],
    ['floppy,size=1G', /unknown kind "floppy"/],
    ['null', /parameter "size=<bytes>" is missing/],
    ['null,', /parameter "size=<bytes>" is missing/],
    ['null,size', /size is "size": expected a positive multiple/],
    ['null,=1G', /size is "=1G": expected a positive multiple/],
    ['null,size=1G,size=1G', /"size" is given twice/],
    ['null,size=1G,color=red', /unknown parameter "color"/],
    ...['', '0', '-1', '1', '513', '1.3K', '1e9', '0x200', '1 G', '1GG', '9999999P'].map(
      (size) => [`null,size=${size}`, /expected a positive multiple of 512 bytes/] as const,
    ),
  ];
  for (const [disk, reason] of cases) {
    assert.match(complaint(...SOCKET, '--disk', disk), reason, `--disk ${disk}`);
  }
});

test('the engine comes from the option, else from VHOSTKIT_ENGINE', (t) => {
  t.after(() => delete process.env.VHOSTKIT_ENGINE);
  process.env.VHOSTKIT_ENGINE = 'epoll';
  assert.equal(parse(...SOCKET, ...DISK).engine, 'epoll');
  assert.equal(parse(...SOCKET, ...DISK, '--engine=auto').engine, 'auto');
  process.env.VHOSTKIT_ENGINE = '';
  assert.equal(parse(...SOCKET, ...DISK).engine, 'auto');
  process.env.VHOSTKIT_ENGINE = 'kqueue';
  assert.match(complaint(...SOCKET, ...DISK), /VHOSTKIT_ENGINE=kqueue: must be one of/);
});

test('values out of bounds are refused, with the bounds', () => {
  const cases: readonly (readonly [option: string, values: readonly string[], reason: RegExp])[] = [
    ['--fd', ['-1', '2147483648', '1.5', '0x3', 'three', ''], /from 0 to 2147483647/],
    ['--num-queues', ['0', '257', '-1', '1e2', ' 8', '8 ', 'NaN', ''], /from 1 to 256/],
    ['--threads', ['0', '257', '1.0'], /from 1 to 256/],
    ['--queue-size', ['0', '32769', '65536'], /from 1 to 32768/],
    ['--queue-size', ['3', '1000', '32767'], /a power of two/],
    ['--block-size', ['0', '256', '131072'], /from 512 to 65536/],
    ['--block-size', ['513', '4095'], /a power of two/],
    ['--poll-max-us', ['-1', '1000001', '0.5'], /from 0 to 1000000/],
    ['--serial', ['123456789012345678901', 'ü'.repeat(11)], /at most 20 bytes/],
    ['--cache', ['', 'unsafe', 'None'], /one of writeback, none, writethrough/],
    ['--locking', ['', 'yes', 'true', 'auto'], /one of on, off/],
    ['--engine', ['', 'libaio'], /one of auto, io_uring, epoll/],
    ['--sandbox', ['', 'yes'], /one of auto, on, off/],
    ['--socket-mode', ['', '8', '0999', '1777', 'rw-rw----'], /permissions in octal/],
    ['--socket-owner', ['', ':', 'a:b:c', '0:'], /of the form user, user:group or :group/],
    ['--socket-owner', ['no-such-user', '4294967295'], /There is no user/],
    ['--socket-owner', [':no-such-group', '0:-1'], /There is no group/],
    ['--log-level', ['', 'trace', 'INFO'], /one of error, warn, info, debug/],
    ['--log-format', ['', 'xml'], /one of text, json/],
    ['--socket-path', [''], /must be a path/],
    ['--blk-file', [''], /must be a path/],
  ];
  for (const [option, values, reason] of cases) {
    for (const value of values) {
      const message = complaint(`${option}=${value}`);
      assert.match(message, reason, `${option}=${value}`);
      assert.ok(message.includes(option), 'says which option');
    }
  }
});

test('every option that takes a value is refused when given twice', () => {
  const options = createCommand('1').options.filter(({ required }) => required);
  assert.equal(options.length, 19);
  const good: Record<string, string> = {
    '--disk': 'null,size=1M',
    '--cache': 'none',
    '--locking': 'on',
    '--sandbox': 'on',
    '--socket-mode': '0660',
    '--socket-owner': 'root',
    '--engine': 'auto',
    '--log-level': 'warn',
    '--log-format': 'json',
  };
  for (const { long } of options) {
    assert.ok(typeof long === 'string');
    const value = good[long] ?? '1024';
    const once = long === '--num-queues' || long === '--threads' ? '8' : value;
    const message = complaint(`${long}=${once}`, `${long}=${once}`);
    assert.match(message, /It is given twice/, long);
  }
});

test('exactly one socket and exactly one disk are wanted', () => {
  const null_ = ['--disk', 'null,size=1M'];
  assert.match(complaint(...DISK), /either --socket-path or --fd/);
  assert.match(complaint(...SOCKET, '--fd=3', ...DISK), /either --socket-path or --fd/);
  assert.match(complaint(...SOCKET), /either --blk-file or --disk/);
  assert.match(complaint(...SOCKET, ...DISK, ...null_), /either --blk-file or --disk/);
});

test('what is no option is refused', () => {
  assert.match(complaint(...SOCKET, ...DISK, 'image2.raw'), /too many arguments/);
  assert.match(complaint(...SOCKET, ...DISK, '--num-queue=2'), /Did you mean --num-queues/);
  assert.match(complaint(...SOCKET, ...DISK, '--read-only=on'), /unknown option/);
  assert.match(complaint('-s'), /argument missing/);
});

test('the socket may be given permissions and an owner, by name or number', () => {
  const path = '/run/disk.sock';
  const cases: readonly (readonly [args: readonly string[], access: object])[] = [
    [['--socket-mode=0660'], { mode: 0o660 }],
    [['--socket-mode=777'], { mode: 0o777 }],
    [['--socket-owner=root'], { user: 0 }],
    [['--socket-owner=root:root'], { user: 0, group: 0 }],
    [['--socket-owner=:107'], { group: 107 }],
    [['--socket-owner=64055:107', '--socket-mode=0600'], { mode: 0o600, user: 64055, group: 107 }],
  ];
  for (const [args, access] of cases) {
    assert.deepEqual(parse(...SOCKET, ...DISK, ...args).socket, {
      ...{ kind: 'path', path, access },
      takeOver: false,
    });
  }
});

test('a socket that a service manager has passed is served, and excludes others', () => {
  assert.deepEqual(parseActivated(3, ...DISK).socket, { kind: 'fd', fd: 3 });
  for (const other of [SOCKET, ['--fd=3']]) {
    assert.throws(() => parseActivated(3, ...DISK, ...other), /--socket-path and --fd contradict/);
  }
});

test('permissions, owners and places are for sockets that the program makes', () => {
  for (const option of ['--socket-mode=0660', '--socket-owner=root', '--take-over']) {
    assert.match(complaint(...DISK, '--fd=3', option), /(are|is) for --socket-path/);
    assert.throws(() => parseActivated(3, ...DISK, option), /(are|is) for --socket-path/);
  }
  const { socket } = parse(...SOCKET, ...DISK, '--take-over');
  assert.ok(socket.kind === 'path' && socket.takeOver);
});

test('what is handed from process to process is a disk that can be', () => {
  const given = (disk: string, option: string): readonly string[] => {
    return [...SOCKET, `--disk=${disk}`, option];
  };
  for (const disk of ['file(x)', 'memory(1M)', 'null(1M)']) parse(...given(disk, '--isolate'));
  for (const disk of ['file(x)', 'null(1M)']) parse(...given(disk, '--take-over'));
  const isolated = complaint(...given('readonly(file(x))', '--isolate'));
  assert.match(isolated, /--isolate is for images, memory and null disks/);
  for (const disk of ['memory(1M)', 'readonly(file(x))']) {
    assert.match(complaint(...given(disk, '--take-over')), /--take-over is for images and null/);
  }
});
