/**
 * A disk in a SQLite file: one row for each block that has ever been written. Small where little
 * was written, and every flush is a transaction: a crash leaves the disk as of the last flush.
 *
 *     vhost-user-blk --socket-path disk.sock --disk ./sqlite-disk.ts,file=disk.sqlite,size-mib=1024
 *
 * Needs Node.js 22.13 or newer.
 */
import { DatabaseSync } from 'node:sqlite';
import type { DiskObject } from 'vhostkit';

const BLOCK_BYTES = 4096;

export default function sqliteDisk({ file = 'disk.sqlite', 'size-mib': mib = '64' }): DiskObject {
  const database = new DatabaseSync(file);
  database.exec(`
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS block (number INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
    BEGIN;
  `);
  const select = database.prepare('SELECT data FROM block WHERE number = ?');
  const upsert = database.prepare('INSERT OR REPLACE INTO block VALUES (?, ?)');
  const remove = database.prepare('DELETE FROM block WHERE number >= ? AND number < ?');

  return {
    sizeBytes: Number(mib) * 2 ** 20,
    // Blocks are read and written whole.
    logicalBlockBytes: BLOCK_BYTES,
    description: `blocks in the SQLite database ${file}`,

    read(buffer, offset) {
      for (let at = 0; at < buffer.length; at += BLOCK_BYTES) {
        const row = select.get((offset + at) / BLOCK_BYTES);
        if (row === undefined) buffer.fill(0, at, at + BLOCK_BYTES);
        else buffer.set(row.data as Uint8Array, at);
      }
    },
    write(buffer, offset) {
      for (let at = 0; at < buffer.length; at += BLOCK_BYTES) {
        upsert.run((offset + at) / BLOCK_BYTES, buffer.subarray(at, at + BLOCK_BYTES));
      }
    },
    discard(offset, length) {
      remove.run(offset / BLOCK_BYTES, (offset + length) / BLOCK_BYTES);
    },
    writeZeroes(offset, length) {
      remove.run(offset / BLOCK_BYTES, (offset + length) / BLOCK_BYTES);
    },
    flush() {
      database.exec('COMMIT; PRAGMA wal_checkpoint(PASSIVE); BEGIN;');
    },
    close() {
      database.exec('COMMIT');
      database.close();
    },
  };
}
