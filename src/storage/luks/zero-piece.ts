/** Zeros to encrypt, as many as a lane holds: a mapping that is only ever read. */
import { Mapping } from '../../sys/index.ts';
import { LANE_BYTES } from './bounce-lanes.ts';

/** See the module's comment. */
export class ZeroPiece {
  readonly #mapping = Mapping.anonymous(LANE_BYTES);

  get address(): number {
    return this.#mapping.address;
  }

  close(): void {
    this.#mapping.close();
  }
}
