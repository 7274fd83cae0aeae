/** What is wrong with a plan, before anything is opened. */
import { StorageError } from '../errors.ts';
import {
  type DiskKind,
  type DiskPlan,
  type ParameterSpec,
  parameterNames,
  parameterSpec,
  writtenName,
} from './disk-kind.ts';

/** Throws a `StorageError` DISK_OPTION if parameters, or disks below, are not what the kind takes. */
export function checkPlan({ kind, parameters, below }: DiskPlan): void {
  checkBelow(kind, below.length);
  checkParameters(kind, parameters);
}

function checkBelow({ name, below }: DiskKind, number: number): void {
  const isRight = {
    none: number === 0,
    one: number === 1,
    some: number > 0,
    any: true,
  }[below];
  if (isRight) return;
  const expected = below === 'none' ? 'no disk' : below === 'one' ? 'one disk' : 'at least one';
  const given = number === 1 ? '1 disk' : `${number} disks`;
  throw new StorageError('DISK_OPTION', `${name}: ${given} below it: expected ${expected}`);
}

function checkParameters(kind: DiskKind, parameters: Readonly<Record<string, unknown>>): void {
  if (kind.parameters === 'any') return;
  const fail = (problem: string): never => {
    throw new StorageError('DISK_OPTION', `${kind.name}: ${problem}`);
  };
  for (const [name, value] of Object.entries(parameters)) {
    const spec = parameterSpec(kind, name);
    const written = writtenName(name);
    if (spec === undefined) {
      fail(`unknown parameter "${written}"; known: ${parameterNames(kind)}`);
    } else if (value !== undefined && !spec.type.accepts(value)) {
      const given = spec.type.secret === undefined ? ` is ${String(value)}` : '';
      fail(`${written}${given}: expected ${spec.type.expected}`);
    }
  }
  for (const [name, spec] of Object.entries<ParameterSpec<unknown>>(kind.parameters)) {
    if (spec.isRequired !== true || parameters[name] !== undefined) continue;
    fail(`parameter "${writtenName(name)}=<${spec.type.placeholder}>" is missing`);
  }
}
