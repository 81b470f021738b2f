import test from 'ava';
import { readImageList, readListed } from '../../src/oci/image-list.ts';

const HEX = '0123456789abcdef'.repeat(4);
const DIGEST = `sha256:${HEX}`;

for (const [entry, images, unnamed] of [
  ['ghcr.io/org/app:v1', ['ghcr.io/org/app:v1'], []],
  ['  nginx\r', ['nginx'], []],
  ['\tnginx:1.27\t# the front', ['nginx:1.27'], []],
  ['', [], []],
  ['# all of them', [], []],
  [`ghcr.io/org/app:v1@${DIGEST}`, [`ghcr.io/org/app:v1@${DIGEST}`], []],
  ['localhost:5000/app', ['localhost:5000/app'], []],
  // Names of other tools.
  [`docker-pullable://nginx@${DIGEST}`, [`nginx@${DIGEST}`], []],
  ['docker://ghcr.io/org/app:v1', ['ghcr.io/org/app:v1'], []],
  ['https://ghcr.io/org/app:v1', ['ghcr.io/org/app:v1'], []],
  ['"nginx:1.27",', ['nginx:1.27'], []],
  ['- nginx:1.27', ['nginx:1.27'], []],
  ['        - image: "nginx:1.27"', ['nginx:1.27'], []],
  // Without a name.
  ['<none>:<none>', [], ['<none>:<none>']],
  ['nginx:<none>', [], ['nginx:<none>']],
  ['nginx@<none>', [], ['nginx@<none>']],
  ['<none>', [], ['<none>']],
  ['null', [], ['null']],
  [DIGEST, [], [DIGEST]],
  [`docker://${DIGEST}`, [], [DIGEST]],
  [`containerd://${HEX}`, [], [HEX]],
  ['0123456789ab', [], ['0123456789ab']],
  // Several on a line, counts and tables.
  ['nginx:1.27 ghcr.io/org/app:v1', ['nginx:1.27', 'ghcr.io/org/app:v1'], []],
  ['      3 nginx:1.27', ['nginx:1.27'], []],
  ['      3 nginx', ['nginx'], []],
  ['nginx:1.27,<none>:<none>', ['nginx:1.27'], ['<none>:<none>']],
  ['nginx\t1.27', ['nginx:1.27'], []],
  ['IMAGE                     TAG     IMAGE ID        SIZE', [], []],
  ['docker.io/library/nginx   1.27    0123456789ab    60MB', ['docker.io/library/nginx:1.27'], []],
  ['<none>   <none>   0123456789ab   2 weeks ago   60MB', [], ['<none>:<none>']],
  ['nginx:1.27   0123456789ab   60MB   20MB   U', ['nginx:1.27'], []],
  // Left to who must say what is wrong.
  ['no image at all', ['no image at all'], []],
  ['nginx:', ['nginx:'], []],
] as const) {
  test(`an entry: ${JSON.stringify(entry)}`, (t) => {
    t.deepEqual(readListed(entry), { images: [...images], unnamed: [...unnamed] });
  });
}

const pods = {
  items: [
    {
      spec: { initContainers: [{ image: 'busybox:1' }], containers: [{ image: 'nginx:1.27' }] },
      status: {
        containerStatuses: [{ image: 'nginx:1.27', imageID: `docker-pullable://nginx@${DIGEST}` }],
      },
    },
  ],
};
const crictl = {
  images: [
    { id: DIGEST, repoTags: ['a:1', 'a:2'], repoDigests: [] },
    { id: DIGEST, repoTags: [] },
  ],
};
const rows = [
  { Repository: 'a', Tag: '1' },
  { Repository: '<none>', Tag: '<none>' },
]
  .map((row) => JSON.stringify(row))
  .join('\n');

for (const [what, text, entries, isWhole] of [
  ['lines', 'a\nb\n', ['a', 'b'], true],
  ['Windows', 'a\r\n\r\nb\r\n', ['a\r', '\r', 'b\r'], true],
  ['a byte order mark', '\uFEFFa\n', ['a'], true],
  ['a last line without its end', 'a\nb', ['a', 'b'], false],
  ['a blank line', '\n', [''], true],
  ['no byte', '', [''], true],
  [
    'the pods of kubectl',
    JSON.stringify(pods, undefined, 4),
    ['busybox:1', 'nginx:1.27', `docker-pullable://nginx@${DIGEST}`],
    true,
  ],
  ['the images of crictl', `${JSON.stringify(crictl)}\n`, ['a:1', 'a:2'], true],
  ['the rows of docker', `${rows}\n`, ['a:1', '<none>:<none>'], true],
  ['an array', ' ["a", "b"]', ['a', 'b'], true],
  ['an empty array', '[]\n', [], true],
  ['no pods', '{"items": []}', [''], true],
] as const) {
  test(`a list: ${what}`, (t) => {
    t.deepEqual(readImageList(Buffer.from(text)), { entries: [...entries], isWhole });
  });
}

test('a list as PowerShell writes it', (t) => {
  const bytes = Buffer.from('\uFEFFnginx:1\r\n', 'utf16le');
  t.deepEqual(readImageList(bytes), { entries: ['nginx:1\r'], isWhole: true });
});

for (const text of ['{"items": [', '["a", ', '{"a":1}\n{"b":', '{"a":1}\nno']) {
  test(`JSON that ends early is no list: ${JSON.stringify(text)}`, (t) => {
    t.throws(() => readImageList(Buffer.from(text)), { instanceOf: SyntaxError });
  });
}
