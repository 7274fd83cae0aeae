#!/usr/bin/env node
/**
 * `blkio-info`: the properties of a block device, as libblkio's program of that name prints them.
 *
 * Exit codes: 0, 1 if the device cannot be reached, 2 for a wrong command line.
 */
import type { Blkio, PropertyInfo } from '../blkio/index.ts';
import { type BlkioInfoConfig, configOf, createCommand } from './blkio-info-options.ts';
import { connectDevice, createDevice } from './device-arguments.ts';
import { failFor, parseOrExit, UsageError } from './program.ts';

const PROGRAM = 'blkio-info';

/** A value as JSON. JSON's integers have no bounds, so those of 64 bits are written as they are. */
function jsonOf(device: Blkio, name: string): string {
  const value = device.get(name);
  return typeof value === 'bigint' ? value.toString() : JSON.stringify(value);
}

function access(property: PropertyInfo): string {
  return property.writableUntil === undefined ? 'r' : 'rw';
}

function jsonLines(members: readonly string[]): string {
  return `{\n${members.map((member) => `    ${member}`).join(',\n')}\n}\n`;
}

/** The properties that were asked for: values in the order of the command line. */
function printWanted(device: Blkio, { wanted, output }: BlkioInfoConfig): string {
  if (output === 'text') return wanted.map((name) => `${String(device.get(name))}\n`).join('');
  return jsonLines(wanted.map((name) => `${JSON.stringify(name)}: ${jsonOf(device, name)}`));
}

/** All properties, with what is known of them. */
function printAll(device: Blkio, { output }: BlkioInfoConfig): string {
  const properties = device.listProperties();
  if (output === 'json') {
    const members = properties.map((property) => {
      const { name, type, description } = property;
      const facts = JSON.stringify({ type, access: access(property), description }).slice(1);
      return `${JSON.stringify(name)}: {"value":${jsonOf(device, name)},${facts}`;
    });
    return jsonLines(members);
  }
  const rows = properties.map((property) => [
    property.name,
    String(device.get(property.name)),
    property.type,
    access(property),
    property.description,
  ]);
  return table([['PROPERTY', 'VALUE', 'TYPE', 'ACCESS', 'DESCRIPTION'], ...rows]);
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column])).join('  '),
  );
  return lines.map((line) => `${line.trimEnd()}\n`).join('');
}

async function run(config: BlkioInfoConfig): Promise<void> {
  using device = createDevice(config.device);
  const known = new Set(device.listProperties().map(({ name }) => name));
  const unknown = config.wanted.find((name) => !known.has(name));
  if (unknown !== undefined) throw new UsageError(`unknown property "${unknown}"`);
  await connectDevice(device, config.device);
  const print = config.wanted.length === 0 ? printAll : printWanted;
  process.stdout.write(print(device, config));
}

const config = parseOrExit(createCommand, configOf, process.argv.slice(2));
try {
  await run(config);
} catch (error) {
  failFor(PROGRAM, error);
}
