/** Images of all formats that qemu-img makes are known for what they are when they are served raw. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { file, openDisk, rawImageWarning } from '../../src/storage/index.ts';
import { imageFolder } from '../support/image-folder.ts';
import { qemuImg, qemuImgRequirements } from '../support/qemu-img.ts';

const skip = qemuImgRequirements() ?? false;

const CASES: readonly (readonly [string, string, RegExp | undefined])[] = [
  ['qcow2', '', /a qcow2 image/],
  ['qcow2', 'compat=0.10', /a qcow2 image/],
  ['vmdk', '', /a VMDK image/],
  ['vmdk', 'subformat=streamOptimized', /a VMDK image/],
  ['vdi', '', /a VDI image/],
  ['vhdx', '', /a VHDX image/],
  ['vpc', '', /a VHD image/],
  ['raw', '', undefined],
];

suite('an image that is served raw', () => {
  for (const [format, options, expected] of CASES) {
    test(`${format} ${options}`, { skip }, async (t) => {
      const path = join(imageFolder(t), 'image');
      qemuImg('create', '-q', '-f', format, ...(options ? ['-o', options] : []), path, '8M');
      const disk = await openDisk(file(path));
      const warning = rawImageWarning(disk);
      await disk.close();
      if (expected === undefined) assert.equal(warning, undefined);
      else assert.match(warning ?? 'nothing', expected);
    });
  }
});
