/**
 * Block ciphers from memory to memory, by the OpenSSL that Node.js itself is linked with: the same
 * code as node:crypto's. That makes an object for each message and a buffer for each result, some
 * microseconds for 512 bytes; here a message costs two calls, and nothing is allocated.
 *
 * SAFETY: source and target are mapped for as long as the call takes, and are the same range or do
 * not overlap. A context is used by one thread. OpenSSL's functions keep their meaning in all
 * versions since 1.1; the types are those of its manual pages (EVP_EncryptInit).
 */
import { type BoundFunctions, bindFunctions, type FunctionTable } from './libc.ts';
import { Mapping } from './mapping.ts';

const FUNCTIONS = {
  EVP_CIPHER_CTX_free: ['int', ['address']],
  EVP_CIPHER_CTX_new: ['address', []],
  EVP_CIPHER_CTX_set_padding: ['int', ['address', 'int']],
  EVP_CipherInit_ex: ['int', ['address', 'address', 'address', 'bytes', 'address', 'int']],
  EVP_CipherUpdate: ['int', ['address', 'address', 'address', 'address', 'int']],
  EVP_get_cipherbyname: ['address', ['string']],
} as const satisfies FunctionTable;

/** `EVP_CipherInit_ex`: go on in the direction that was set. */
const SAME_DIRECTION = -1;

/** A context's own memory: an initialisation vector, and where OpenSSL puts lengths. */
const IV_WORDS = 4;
const LENGTH_OFFSET = 16;
const MEMORY_BYTES = 32;

const openssl = bindOpenssl();

function bindOpenssl(): BoundFunctions<typeof FUNCTIONS> | undefined {
  try {
    return bindFunctions(FUNCTIONS);
  } catch {
    // A Node.js that keeps its OpenSSL to itself.
    return undefined;
  }
}

/** See the module's comment. */
export class NativeCipher implements Disposable {
  /** The initialisation vector of the next message, in the processor's byte order. */
  readonly iv: Int32Array;
  /** Where it lies. */
  readonly ivAddress: number;
  readonly #functions: BoundFunctions<typeof FUNCTIONS>;
  readonly #memory: Mapping;
  readonly #lengthAddress: number;
  #context: number;

  /**
   * A cipher by OpenSSL's name (`aes-256-xts`) with its key, for one direction.
   *
   * @returns `undefined` if this Node.js does not let us reach its OpenSSL, or OpenSSL has no such
   * cipher, or refuses the key: XTS takes no two halves that are the same.
   */
  static open(name: string, key: Uint8Array, encrypts: boolean): NativeCipher | undefined {
    if (openssl === undefined) return undefined;
    const cipher = openssl.EVP_get_cipherbyname(name);
    if (cipher === 0) return undefined;
    const context = openssl.EVP_CIPHER_CTX_new();
    if (context === 0) return undefined;
    const direction = encrypts ? 1 : 0;
    const isReady = openssl.EVP_CipherInit_ex(context, cipher, 0, key, 0, direction) === 1;
    if (!isReady || openssl.EVP_CIPHER_CTX_set_padding(context, 0) !== 1) {
      openssl.EVP_CIPHER_CTX_free(context);
      return undefined;
    }
    return new NativeCipher(openssl, context);
  }

  private constructor(functions: BoundFunctions<typeof FUNCTIONS>, context: number) {
    this.#functions = functions;
    this.#context = context;
    this.#memory = Mapping.anonymous(MEMORY_BYTES);
    this.iv = new Int32Array(this.#memory.view(0, MEMORY_BYTES), 0, IV_WORDS);
    this.ivAddress = this.#memory.address;
    this.#lengthAddress = this.#memory.address + LENGTH_OFFSET;
  }

  /**
   * Do one message of whole blocks, with the vector at an address. Returns whether OpenSSL did.
   */
  run(ivAddress: number, source: number, target: number, bytes: number): boolean {
    const { EVP_CipherInit_ex, EVP_CipherUpdate } = this.#functions;
    const context = this.#context;
    return (
      EVP_CipherInit_ex(context, 0, 0, null, ivAddress, SAME_DIRECTION) === 1 &&
      EVP_CipherUpdate(context, target, this.#lengthAddress, source, bytes) === 1
    );
  }

  /** Forget the key. */
  [Symbol.dispose](): void {
    if (this.#context === 0) return;
    this.#functions.EVP_CIPHER_CTX_free(this.#context);
    this.#context = 0;
    this.#memory.close();
  }
}
