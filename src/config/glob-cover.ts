import { findGlob } from './glob.ts';

/** More forms of one glob are not looked at. */
const MAX_FORMS = 200;
/** Stands for what no glob has in it as it is. */
const ANY = '\u0001';

const INNERMOST = /\{([^{}]*)\}/;

/** A glob as globs without braces; `undefined` for one with more than 200 of them. */
export function expandBraces(glob: string): readonly string[] | undefined {
  let forms: readonly string[] = [glob];
  while (forms.length <= MAX_FORMS) {
    if (!forms.some((form) => INNERMOST.test(form))) return forms;
    forms = forms.flatMap((form) => {
      const [group, inner = ''] = INNERMOST.exec(form) ?? [];
      if (group === undefined) return [form];
      return inner.split(',').map((each) => form.replace(group, () => each));
    });
  }
  return undefined;
}

/**
 * Whether each name that one glob matches is matched by another one, too. It says yes only of what is certain:
 * of ranges, and of more than 200 forms, it knows nothing.
 */
export function coversGlob(wide: string, narrow: string): boolean {
  if (wide === narrow || wide === '**') return true;
  // These take one character of a kind, which what stands for any does not show.
  if (/[?[]/.test(wide) || narrow.includes('[')) return false;
  const names = sampleNames(narrow, wide.split('/').length + 1);
  const pattern = findGlob(wide);
  return (
    names !== undefined && pattern !== undefined && names.every((name) => pattern.matches(name))
  );
}

/**
 * A name for each form that a glob can take: `*` and `?` stand for something unheard of, which only a `*` takes;
 * `**` for nothing and for up to so many components, of which only a `**` takes all.
 */
function sampleNames(glob: string, components: number): readonly string[] | undefined {
  const runs = Array.from({ length: components + 1 }, (_, count) =>
    Array.from({ length: count }, () => ANY).join('/'),
  );
  let names = expandBraces(glob);
  while (names && names.length <= MAX_FORMS) {
    if (names.every((name) => !name.includes('**'))) {
      return names.map((name) => name.replaceAll(/[*?]/g, ANY));
    }
    names = names.flatMap((name) => {
      const [all, before = '', after = ''] = /(^|\/)?\*\*(\/|$)?/.exec(name) ?? [];
      if (all === undefined) return [name];
      return runs.map((run) => {
        // As a whole component it may be empty, together with one of its slashes.
        const slash = run === '' && before === '/' && after === '/' ? '/' : '';
        return name.replace(all, () => (run === '' ? slash : `${before}${run}${after}`));
      });
    });
  }
  return undefined;
}
