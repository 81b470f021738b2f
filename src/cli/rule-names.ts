import { isDeepStrictEqual } from 'node:util';
import type { RuleReport } from '../api/access-api.ts';
import type { AdmissionRuleReport } from '../api/admission-api.ts';
import type { LoadedConfig } from '../config/load.ts';
import { readTextFile } from '../config/source.ts';
import { findLine } from '../config/yaml.ts';

/** How rules are named to people: by their place, and by their line where the file has them as they are in force. */
export class RuleNames {
  readonly #places: ReadonlyMap<
    string,
    { readonly rule: object; readonly line: number | undefined }
  >;
  readonly #file: string | undefined;

  constructor({ config, file }: Pick<LoadedConfig, 'config' | 'file'>) {
    const { access, admission } = config;
    const text = file === undefined ? '' : readTextFile(file);
    this.#file = file;
    const place = (key: string) => (rule: object, at: number) =>
      [`${key}.rules[${at}]`, { rule, line: findLine(text, [key, 'rules', at]) }] as const;
    this.#places = new Map([
      ...(access?.rules ?? []).map(place('access')),
      ...(admission?.rules ?? []).map(({ images, mode }, at) =>
        place('admission')({ images, mode }, at),
      ),
    ]);
  }

  /** Of a rule that the file has at this place; `undefined` where it has another one. */
  lineOf(report: Named): { file: string; line: number } | undefined {
    const { rule, line } = this.#places.get(report.place) ?? {};
    if (line === undefined || this.#file === undefined) return undefined;
    return isDeepStrictEqual(rule, partsOf(report)) ? { file: this.#file, line } : undefined;
  }

  name(report: Named): string {
    const found = this.lineOf(report);
    return found ? `${report.place} (${found.file}:${found.line})` : report.place;
  }
}

type Named = RuleReport | Pick<AdmissionRuleReport, 'place' | 'images' | 'mode'>;

/** What tells a rule from others that may have stood in its place. */
function partsOf(report: Named): object {
  if ('mode' in report) return { images: report.images, mode: report.mode };
  const { who, from, may, images } = report;
  return { who, ...(from && { from }), may, ...(images && { images }) };
}
