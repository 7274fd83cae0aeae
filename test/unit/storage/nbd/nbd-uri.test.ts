/** URIs of NBD exports. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseNbdUri } from '../../../../src/storage/nbd/nbd-uri.ts';

suite('URIs of NBD exports', () => {
  const right: [uri: string, expected: object][] = [
    ['nbd://host', { tls: false, host: 'host', port: 10809, exportName: '' }],
    ['nbd://host/', { tls: false, host: 'host', port: 10809, exportName: '' }],
    ['nbds://host:1234/a/b', { tls: true, host: 'host', port: 1234, exportName: 'a/b' }],
    ['nbd://[::1]:5/x', { tls: false, host: '::1', port: 5, exportName: 'x' }],
    ['nbd://host//lead/../x', { tls: false, host: 'host', port: 10809, exportName: '/lead/../x' }],
    [
      'nbd+unix:///%C3%A4%20b?socket=/tmp/a+b%3F',
      { tls: false, exportName: 'ä b', socketPath: '/tmp/a+b?' },
    ],
    [
      'nbds+unix:///?socket=/s&tls-certificates=/pki&tls-hostname=name',
      { tls: true, exportName: '', socketPath: '/s', tlsFolder: '/pki', tlsHostname: 'name' },
    ],
  ];
  for (const [uri, expected] of right) {
    test(uri, () => assert.deepEqual(parseNbdUri(uri), { uri, ...expected }));
  }

  const wrong: [uri: string, message: RegExp][] = [
    ['http://host/', /expected nbd:/],
    ['nbd:host', /expected nbd:/],
    ['nbd://host/x#y', /expected nbd:/],
    ['nbd:///x', /expected a host/],
    ['nbd://user@host/', /a user/],
    ['nbd://host:0/', /the port is 0/],
    ['nbd://host:70000/', /the port is 70000/],
    ['nbd://host:x/', /expected a host/],
    ['nbd://host/?socket=/x', /is for nbd\+unix/],
    ['nbd+unix:///', /expected \?socket=/],
    ['nbd+unix:///?socket=', /"socket" is empty/],
    ['nbd+unix://host/?socket=/x', /three slashes/],
    ['nbd+unix:///?socket=/a&socket=/b', /twice/],
    ['nbd+unix:///?socket=/a&colour=red', /unknown "colour"/],
    [`nbd+unix:///?socket=/${'a'.repeat(107)}`, /108 bytes/],
    ['nbd://host/%ff', /no text in UTF-8/],
    ['nbd://host/a%00b', /NUL/],
    [`nbd://host/${'a'.repeat(4097)}`, /4097 bytes/],
  ];
  for (const [uri, message] of wrong) {
    test(`wrong: ${uri.slice(0, 60)}`, () => {
      assert.throws(() => parseNbdUri(uri), { code: 'DISK_OPTION', message });
    });
  }
});
