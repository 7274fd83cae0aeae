/**
 * Messages as cases write them, turned into bytes: from the protocol's declarations, and with every
 * lie a case wants told.
 *
 *     send SET_VRING_NUM index=0 num=3 need-reply
 *     send SET_MEM_TABLE table=0,1 fds=memory0,memory1
 *     send ADD_MEM_REG region=2 fds=memory2
 *     send GET_CONFIG offset=0 size=60 header-size=7 header-flags=0x1
 */
import { FrameFlag, type FrontendMessageName, FrontendMessages } from '../src/vhost-user/index.ts';
import { type Action, CaseError } from './action.ts';
import { REGIONS } from './geometry.ts';
import { parseNumber } from './numbers.ts';

type Shape = (typeof FrontendMessages)[FrontendMessageName]['request']['shape'];
type AnyStruct = Extract<Shape, { readonly kind: 'struct' }>['struct'];
type Values = ReadonlyMap<string, string>;

const HEADER_BYTES = 12;
const FIELD_BYTES = { u8: 1, u16: 2, u32: 4, u64: 8, size64: 8 } as const;

/** The names of all messages of a front-end. */
export const MESSAGE_NAMES = Object.keys(FrontendMessages) as FrontendMessageName[];

/** What is declared of a message, with its types forgotten. */
interface Declaration {
  readonly id: number;
  readonly shape: Shape;
  readonly hasReply: boolean;
  readonly fds: { readonly min: number; readonly max: number };
}

export function declarationOf(name: FrontendMessageName): Declaration {
  const declared = FrontendMessages[name];
  return {
    id: declared.id,
    shape: declared.request.shape as Shape,
    hasReply: 'reply' in declared,
    fds: declared.fds,
  };
}

function isMessageName(name: string): name is FrontendMessageName {
  return Object.hasOwn(FrontendMessages, name);
}

/** A structure's bytes; fields without a value are 0, and values are cut to what fits. */
function structBytes(struct: AnyStruct, values: Values): Buffer {
  const parts = Object.entries(struct.fields).map(([field, { type }]) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(parseNumber(values.get(field) ?? '0'));
    return bytes.subarray(0, FIELD_BYTES[type]);
  });
  return Buffer.concat(parts);
}

/** The fields of one of the fixed regions. */
function regionValues(index: number): Map<string, string> {
  const region = REGIONS[index];
  if (region === undefined) throw new CaseError(`there is no region ${index}`);
  return new Map([
    ['guestAddress', `guest${index}`],
    ['userAddress', `user${index}`],
    ['sizeBytes', String(region.sizeBytes)],
    ['mmapOffset', '0'],
  ]);
}

/** `0` is a fixed region, `guest/size/user/offset` one of the case's own making. */
function tableEntry(text: string): Values {
  const [guestAddress, sizeBytes, userAddress, mmapOffset] = text.split('/');
  if (mmapOffset === undefined) return regionValues(Number(parseNumber(text)));
  return new Map(Object.entries({ guestAddress, sizeBytes, userAddress, mmapOffset }));
}

function payloadOf(shape: Shape, values: Values): Buffer {
  switch (shape.kind) {
    case 'empty':
      return Buffer.alloc(0);
    case 'struct': {
      const region = values.get('region');
      const preset = region === undefined ? [] : regionValues(Number(parseNumber(region)));
      return structBytes(shape.struct as AnyStruct, new Map([...preset, ...values]));
    }
    case 'items': {
      const items = (values.get('table') ?? '').split(',').filter(Boolean);
      const count = values.get('count') ?? String(items.length);
      return Buffer.concat([
        structBytes(shape.struct as AnyStruct, new Map([...values, ['count', count]])),
        ...items.map((item) => structBytes(shape.item as AnyStruct, tableEntry(item))),
      ]);
    }
    case 'bytes': {
      const size = Number(parseNumber(values.get('size') ?? '0'));
      const hex = values.get('bytes');
      const room = Math.min(size, 4096);
      const bytes = hex === undefined ? Buffer.alloc(room) : Buffer.from(hex, 'hex');
      return Buffer.concat([structBytes(shape.struct as AnyStruct, values), bytes]);
    }
  }
}

/** A message ready to be sent. */
export interface Frame {
  readonly bytes: Buffer;
  /** Whether the back-end answers, if it accepts the message and knows REPLY_ACK. */
  readonly answer: 'always' | 'if asked' | 'never';
}

/**
 * The frame of a `send`. Keys beside the payload's fields: `payload` (hexadecimal, instead of the
 * fields), `append` (bytes behind it), and the header's `header-id`, `header-flags`, `header-size`.
 */
export function frameOf({ words, values }: Action): Frame {
  const [name = ''] = words;
  if (!isMessageName(name)) throw new CaseError(`no message is called "${name}"`);
  const { id, shape, hasReply } = declarationOf(name);
  const given = values.get('payload');
  const payload = Buffer.concat([
    given === undefined ? payloadOf(shape, values) : Buffer.from(given, 'hex'),
    Buffer.from(values.get('append') ?? '', 'hex'),
  ]);
  const isAsked = words.includes('need-reply');
  const flags = FrameFlag.VERSION | (isAsked ? FrameFlag.NEED_REPLY : 0);
  const header = Buffer.alloc(HEADER_BYTES);
  const word = (key: string, otherwise: number): number =>
    Number(BigInt.asUintN(32, parseNumber(values.get(key) ?? String(otherwise))));
  header.writeUInt32LE(word('header-id', id), 0);
  header.writeUInt32LE(word('header-flags', flags), 4);
  header.writeUInt32LE(word('header-size', payload.length), 8);
  const bytes = Buffer.concat([header, payload]);
  return { bytes, answer: hasReply ? 'always' : isAsked ? 'if asked' : 'never' };
}
