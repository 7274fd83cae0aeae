/** The filter `encrypt`: a disk that is encrypted, as cryptsetup and QEMU do it, in another. */
import { type DiskKind, type DiskLike, DiskPlan } from '../plan/disk-kind.ts';
import { count, flag, text } from '../plan/parameter-types.ts';
import { type Passphrase, passphraseType } from './passphrase.ts';

/** See the kind's parameters. */
export interface EncryptParameters {
  readonly passphraseFile?: string;
  /** In code only. Text is UTF-8. */
  readonly passphrase?: Passphrase;
  readonly keySlot?: number;
  readonly allowDiscards?: boolean;
}

const MAX_SLOT = 31;

/** See the module's comment. */
export const encryptKind: DiskKind<EncryptParameters> = {
  name: 'encrypt',
  summary: 'a LUKS1 or LUKS2 container, unlocked',
  below: 'one',
  parameters: {
    passphraseFile: { type: text('path'), summary: 'file with the passphrase' },
    passphrase: { type: passphraseType, summary: 'the passphrase, in code only' },
    keySlot: { type: count(0, MAX_SLOT), summary: 'the only key slot to try' },
    allowDiscards: { type: flag, summary: 'pass discards on' },
  },
  // Its modules are read only if there is one.
  open: async (context) => (await import('./open-encrypt.ts')).openEncrypt(context),
};

/** An unlocked LUKS container. */
export function encrypt(disk: DiskLike, parameters: EncryptParameters): DiskPlan {
  return new DiskPlan(encryptKind, parameters, [disk]);
}
