import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';

/** The names in image indexes: the values of GOOS and GOARCH. */
const SYSTEMS =
  'aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris wasi wasip1 windows'.split(
    ' ',
  );
const ARCHITECTURES =
  '386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm'.split(
    ' ',
  );
/** Names of the same architectures that people write by mistake. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  x64: 'amd64',
  aarch64: 'arm64',
  armv8: 'arm64',
  armhf: 'arm/v7',
  armv7: 'arm/v7',
  armv7l: 'arm/v7',
  armv6: 'arm/v6',
  armv6l: 'arm/v6',
  i386: '386',
  i686: '386',
  x86: '386',
  ppc64el: 'ppc64le',
};
const VARIANT = /^v?[0-9]+(?:\.[0-9]+)*$/;

/**
 * `os/architecture` or `os/architecture/variant`. Throws a `ConfigError` that says what to write.
 */
export function parsePlatform(text: string): string {
  const [system = '', architecture = '', variant, ...others] = text.split('/');
  const usual = OTHER_NAMES[architecture];
  if (usual !== undefined && SYSTEMS.includes(system)) {
    throw new ConfigError([
      TEXTS.notThis({ advice: TEXTS.writeName({ name: `${system}/${usual}` }), text }),
    ]);
  }
  const isPlatform =
    SYSTEMS.includes(system) &&
    ARCHITECTURES.includes(architecture) &&
    (variant === undefined || VARIANT.test(variant)) &&
    others.length === 0;
  if (isPlatform) return text;
  throw new ConfigError([TEXTS.notThis({ advice: TEXTS.platform, text })]);
}
